"""The console: pages for people, made on the server; each thing it does is the admin API's.

session.py       who has signed in, as pages know them
admin_client.py  asks the admin API in this process, as that person
passing.py       an answer of another path of this process, as it comes
api_door.py      the API that programs use, as pages know it
snippets.py      a request as lines to paste
words.py         figures as pages say them
assets.py        static files, under names that change with their bytes
pages.py         a template -> a response with the headers that pages need
navigation.py    which pages there are, and for whom
shown.py         numbers, times, names as pages show them; budget_bar.py, what is used of a budget
paging.py        a part of a list at a time
done.py          what a page says after a form; rights.py, which buttons a role has
forms/           what was typed, and what of it was refused
routes.py        what answers under /console
views/           the pages
templates/, static/ (static/vendor: other people's, unchanged, with their hashes)
"""
