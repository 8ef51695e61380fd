"""HEAD of what GET answers as a stream: its head, and the connection is free again."""

from pathlib import Path

import httpx

from tests.support.serving import scripted, serving, wait_until


def test_head_of_a_kept_responses_stream_leaves_nothing_behind(tmp_path: Path) -> None:
    with (
        serving(tmp_path, scripted("m")) as served,
        httpx.Client(base_url=served.url, headers=served.headers, timeout=5) as client,
    ):
        body = {"model": "m", "input": "x", "background": True}
        path = f"/v1/responses/{client.post('/v1/responses', json=body).json()['id']}"
        wait_until(lambda: client.get(path).json()["status"] == "completed", "it is over")
        for _ in range(3):
            answer = client.head(path, params={"stream": "true"})
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert client.get(path).json()["status"] == "completed"
