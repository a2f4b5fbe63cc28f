"""The page that a fleet's run leaves behind: one HTML file with everything in it.

Start at `writer.write_report`; `figures` turns a summary into plots, `page` puts them and the tables into
`page.html.j2`. Needs the extra `report` (jinja2, plotly); nothing else of this room imports this folder.
"""
