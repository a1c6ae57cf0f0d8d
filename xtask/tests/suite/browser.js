// Measures pages in frames, whose own scripts and policies act, and writes the findings as JSON.
const faults = [];
const overlap = (one, other) =>
  Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1.5 &&
  Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1.5;

const measure = (frame) => {
  const { page, width, scripts } = frame.dataset;
  const fault = (text) => faults.push(`${page}, ${width} px, scripts ${scripts}: ${text}`);
  const inner = frame.contentDocument;
  const root = inner.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    fault(`scrolls to ${root.scrollWidth} of ${root.clientWidth}`);
    for (const element of inner.querySelectorAll("main *")) {
      if (element.getBoundingClientRect().right > root.clientWidth + 1) { fault(`wide: ${element.outerHTML.slice(0, 90)}`); break; }
    }
  }
  for (const box of inner.querySelectorAll(".scroll")) {
    if (box.querySelector("table") && box.scrollWidth > box.clientWidth + 1) fault(`a table scrolls: ${box.firstChild.className} ${box.scrollWidth} of ${box.clientWidth}`);
  }
  for (const svg of inner.querySelectorAll("svg")) {
    const texts = [...svg.querySelectorAll("text")];
    const boxes = texts.map((text) => text.getBoundingClientRect());
    boxes.forEach((box, index) => boxes.slice(0, index).forEach((other, before) => {
      if (overlap(box, other)) fault(`labels overlap: ${texts[index].textContent} | ${texts[before].textContent}`);
    }));
    texts.forEach((text, index) => {
      for (const line of svg.querySelectorAll("polyline")) {
        const toScreen = line.getScreenCTM();
        for (let at = 0; line.getTotalLength() >= at; at += 2) {
          const point = line.getPointAtLength(at).matrixTransform(toScreen);
          const box = boxes[index];
          if (point.x > box.left + 1 && box.right - 1 > point.x && point.y > box.top + 2 && box.bottom - 3 > point.y) {
            fault(`a line goes through the label ${text.textContent}`);
            break;
          }
        }
      }
    });
  }
  for (const lane of inner.querySelectorAll(".lane")) {
    const boxes = [...lane.children].map((part) => {
      const range = inner.createRange();
      range.selectNodeContents(part);
      return part.tagName === "svg" ? part.getBoundingClientRect() : range.getBoundingClientRect();
    });
    boxes.forEach((box, index) => boxes.slice(0, index).forEach((other) => {
      if (box.width > 0 && overlap(box, other)) fault(`words overlap in a lane: ${lane.textContent}`);
    }));
  }
  if (inner.scripts.length !== 1) fault(`${inner.scripts.length} scripts`);
  const strangers = inner.querySelectorAll("bdi :not(mark), img, iframe, object, embed, link, base");
  if (strangers.length) fault(`a text became ${strangers[0].tagName}`);

  const rows = [...inner.querySelectorAll("table.samples tbody tr")];
  const visible = () => rows.filter((row) => row.getBoundingClientRect().height > 0).length;
  if (visible() !== rows.length) fault("a sample is not shown at first");
  const form = inner.querySelector("form.filter");
  if (!form) return;
  if (scripts === "off") {
    if (!form.hidden) fault("a filter is shown that does nothing");
    return;
  }
  if (form.hidden) return fault("the filter is hidden: its script did not run");
  const expect = (what, count) => {
    form.dispatchEvent(new frame.contentWindow.Event("input", { bubbles: true }));
    if (visible() !== count) fault(`${what}: ${visible()} samples instead of ${count}`);
  };
  const last = form.elements.stage.lastElementChild;
  form.elements.stage.value = last.value;
  const ofStage = rows.filter((row) => row.firstChild.textContent === last.textContent);
  expect("stage", ofStage.length);
  form.elements.feature.value = "0";
  expect("feature", ofStage.filter((row) => /^\[1[,\]]/.test(row.dataset.values)).length);
  form.elements.stage.value = "";
  form.elements.feature.value = "";
  if (form.elements.context) {
    form.elements.context.value = "1";
    expect("context", rows.filter((row) => row.dataset.context === "1").length);
    form.elements.context.value = "";
  }
  expect("everything", rows.length);
};

addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")];
  frames.forEach(measure);
  document.querySelector("#found").textContent = `measured ${frames.length}` + faults.map((fault) => `\n${fault}`).join("");
});
