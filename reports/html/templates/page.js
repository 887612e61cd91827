// Configuration only: DataTables sorts, searches and pages; Vega draws.
window.followScheme();
const form = document.querySelector("#filters");
const chosen = () => [...new FormData(form)].filter(([, value]) => value);
// A line that does not say a property is not filtered by it.
window.DataTable.ext.search.push((settings, _, index) => {
  const says = settings.aoData[index].nTr.dataset;
  return chosen().every(([name, value]) => says[name] === undefined || says[name] === value);
});
const tables = [...document.querySelectorAll("table.data")].map((table) => {
  const many = table.tBodies[0].rows.length > 25;
  return new window.DataTable(table, {
    autoWidth: false,
    order: [],
    paging: many,
    pageLength: 25,
    layout: {
      topStart: many ? "info" : null, topEnd: many ? "search" : null,
      bottomStart: many ? "pageLength" : null, bottomEnd: many ? "paging" : null,
    },
  });
});
form.addEventListener("change", () => {
  const { cell } = Object.fromEntries(chosen());
  for (const table of tables) {
    table.columns("[data-cell]").every(function () {
      this.visible(!cell || this.header().dataset.cell === cell, false);
    });
    table.draw();
  }
});
form.addEventListener("reset", () => setTimeout(() => form.dispatchEvent(new Event("change"))));
const draw = (details) => {
  const island = details.querySelector("script[data-chart]");
  window.vegaEmbed(document.getElementById(island.dataset.chart), JSON.parse(island.text), {
    actions: false, ast: true, renderer: "svg", tooltip: { theme: "custom" },
  });
};
for (const details of document.querySelectorAll("details.figure")) {
  if (details.open) draw(details);
  else details.addEventListener("toggle", () => draw(details), { once: true });
}
