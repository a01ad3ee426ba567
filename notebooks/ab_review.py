# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Review an A/B diff: the headline, the changed pairs, and one pair side by side.

Widgets and layout only; everything that reads, counts or renders is in `pipelines.review`.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Refold: A/B review")


@app.cell(hide_code=True)
def _():
    import os

    import marimo as mo

    from pipelines.lake.lake import Lake
    from pipelines.review.changes import count_pages, list_metrics, load_changes
    from pipelines.review.headline import load_headline
    from pipelines.review.headline_html import render_headline, render_message
    from pipelines.review.markup import style_sheet
    from pipelines.review.pair import load_pair
    from pipelines.review.pair_html import render_pair
    from pipelines.review.widgets import (
        COLUMN_WIDTHS,
        WRAPPED,
        change_rows,
        class_choices,
        find_opening,
        order_choices,
        selected_pair,
    )
    from pipelines.settings import Settings

    lake = Lake.from_settings(Settings.from_env())
    opening = find_opening(lake, os.environ.get("REFOLD_EXPERIMENT"))
    return (
        COLUMN_WIDTHS,
        WRAPPED,
        change_rows,
        class_choices,
        count_pages,
        lake,
        list_metrics,
        load_changes,
        load_headline,
        load_pair,
        mo,
        opening,
        order_choices,
        render_headline,
        render_message,
        render_pair,
        selected_pair,
        style_sheet,
    )


@app.cell(hide_code=True)
def _(mo, opening, render_message, style_sheet):
    _message = [mo.Html(render_message(opening.message))] if opening.message else []
    mo.vstack([mo.Html(style_sheet()), mo.md("# How B differs from A"), *_message])
    return


@app.cell(hide_code=True)
def _(mo, opening):
    mo.stop(opening.experiment is None)
    experiment = mo.ui.dropdown(list(opening.versions), value=opening.experiment, label="Experiment")
    return (experiment,)


@app.cell(hide_code=True)
def _(experiment, mo, opening):
    _labels = opening.labels(experiment.value or opening.experiment)
    version = mo.ui.dropdown(_labels, value=next(iter(_labels)), label="Version", allow_select_none=False)
    mo.hstack([experiment, version], justify="start", wrap=True)
    return (version,)


@app.cell(hide_code=True)
def _(lake, list_metrics, load_headline, version):
    headline = load_headline(lake, version.value)
    metrics = list_metrics(lake, version.value)
    return headline, metrics


@app.cell(hide_code=True)
def _(headline, mo, render_headline):
    mo.Html(render_headline(headline))
    return


@app.cell(hide_code=True)
def _(class_choices, headline, metrics, mo, order_choices):
    _orders = order_choices(headline, metrics)
    classes = mo.ui.multiselect(class_choices(headline), label="Only")
    order = mo.ui.dropdown(_orders, value=next(iter(_orders)), label="Order", allow_select_none=False)
    is_all = mo.ui.switch(label="unchanged pairs too")
    mo.vstack([mo.md("## Changed pairs"), mo.hstack([classes, order, is_all], justify="start", wrap=True)])
    return classes, is_all, order


@app.cell(hide_code=True)
def _(classes, count_pages, is_all, lake, mo, version):
    _pages = count_pages(lake, version.value, classes=classes.value, is_all=is_all.value)
    page_number = mo.ui.number(start=1, stop=_pages, value=1, step=1, label=f"Page (of {_pages:,})")
    page_number if _pages > 1 else None
    return (page_number,)


@app.cell(hide_code=True)
def _(
    COLUMN_WIDTHS,
    WRAPPED,
    change_rows,
    classes,
    is_all,
    lake,
    load_changes,
    metrics,
    mo,
    order,
    page_number,
    render_message,
    version,
):
    page = load_changes(
        lake, version.value, classes=classes.value, order=order.value, is_all=is_all.value, page=page_number.value
    )
    mo.stop(not page.rows, mo.Html(render_message("No pair like that.")))
    table = mo.ui.table(
        change_rows(page, metrics),
        selection="single",
        initial_selection=[0],
        page_size=10,
        show_column_summaries=False,
        show_data_types=False,
        show_download=False,
        show_search=False,
        wrapped_columns=list(WRAPPED),
        column_widths=COLUMN_WIDTHS,
        label=f"{page.total:,} pairs; select one to see it below",
    )
    table
    return page, table


@app.cell(hide_code=True)
def _(lake, load_pair, mo, page, render_message, render_pair, selected_pair, table, version):
    _unit = selected_pair(page, table.value)
    mo.stop(_unit is None, mo.Html(render_message("Select a pair in the table to see both sides.")))
    mo.Html(render_pair(load_pair(lake, version.value, _unit)))
    return


if __name__ == "__main__":
    app.run()
