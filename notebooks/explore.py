# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""What agents did, at a glance: volume, outcomes, tools, cost, latency, and how far the record can be trusted.

Widgets and layout only; everything that reads, counts or renders is in `pipelines.explore`.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Refold: dashboard")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    from pipelines.explore.choices import ALL, load_choices
    from pipelines.explore.html import render_overview, style_sheet
    from pipelines.explore.overview import load_overview
    from pipelines.home import find_behind
    from pipelines.lake.lake import Lake
    from pipelines.settings import Settings

    settings = Settings.from_env()
    lake = Lake.from_settings(settings)
    choices = load_choices(lake)
    return ALL, choices, find_behind, lake, load_overview, mo, render_overview, settings, style_sheet


@app.cell(hide_code=True)
def _(mo, style_sheet):
    mo.vstack([mo.Html(style_sheet()), mo.md("# What agents did")])
    return


@app.cell(hide_code=True)
def _(ALL, choices, mo):
    window = mo.ui.dropdown(list(choices.windows), value=ALL, label="Window", allow_select_none=False)
    source = mo.ui.multiselect(list(choices.values["source"]), label="Source")
    agent = mo.ui.multiselect(list(choices.values["agent"]), label="Agent")
    vertical = mo.ui.multiselect(list(choices.values["vertical"]), label="Vertical")
    model = mo.ui.multiselect(list(choices.values["model"]), label="Model")
    mo.hstack([window, source, agent, vertical, model], justify="start", wrap=True)
    return agent, model, source, vertical, window


@app.cell(hide_code=True)
def _(find_behind, lake, settings):
    behind = find_behind(settings, lake).describe(settings)
    return (behind,)


@app.cell(hide_code=True)
def _(agent, behind, choices, lake, load_overview, mo, model, render_overview, source, vertical, window):
    _chosen = choices.choose(
        window.value, source=source.value, agent=agent.value, vertical=vertical.value, model=model.value
    )
    mo.Html(render_overview(load_overview(lake, _chosen), behind))
    return


if __name__ == "__main__":
    app.run()
