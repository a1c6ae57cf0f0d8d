// Filters the table of samples. Without it, all samples are shown. It only reads and hides rows that are there.
(() => {
  const form = document.querySelector("form.filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("table.samples tbody tr")];
  const { stage, context, feature, least, most } = form.elements;
  const count = form.querySelector("output");
  const isShown = (row) => {
    const { stage: ofStage, context: ofContext, values } = row.dataset;
    if (stage.value && stage.value !== ofStage) return false;
    if (context && context.value && context.value !== ofContext) return false;
    if (!feature.value) return true;
    const value = JSON.parse(values)[feature.value];
    if (value === null) return false;
    return (least.value === "" || value >= +least.value) && (most.value === "" || +most.value >= value);
  };
  const apply = () => {
    for (const row of rows) row.hidden = !isShown(row);
    least.disabled = most.disabled = !feature.value;
    count.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  form.hidden = false;
  apply();
})();
