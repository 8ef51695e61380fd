"""Traces of requests for OpenTelemetry: spans made once a request, after its end, of the times that
the server keeps anyway; exported by a thread of its own. Only `facts` and `address` are imported
where nobody asked for them: the others need OpenTelemetry's packages."""
