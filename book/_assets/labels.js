// Names and focus for what the theme and the widgets leave without: screen readers and keyboards need both.
(() => {
  // Where the widgets find their icons: beside their script.
  const root = new URL(document.documentElement.dataset.content_root, window.location.href);
  window.__jupyter_widgets_assets_path__ = new URL("_static/vendor/", root).href;

  // The widgets ask MathJax 2 to typeset what they show; the pages have MathJax 3.
  const answerWidgets = () => {
    if (!window.MathJax || window.MathJax.Hub) return;
    window.MathJax.Hub = {
      Queue: ([, , element]) => window.MathJax.startup.promise.then(() => window.MathJax.typesetPromise([element])),
    };
  };

  // What a button shows must be in its name, and an arrow that unfolds the contents needs one.
  const nameButtons = () => {
    for (const button of document.querySelectorAll("button.search-button, button.search-button__button, button.theme-switch-button")) {
      const text = button.textContent.replace(/\s+/g, " ").trim();
      const label = button.getAttribute("aria-label") || "";
      if (text && !label.includes(text)) button.setAttribute("aria-label", label.startsWith(text) ? text : `${label}: ${text}`);
    }
    for (const list of document.querySelectorAll(".citation-list[role=list]")) list.removeAttribute("role");
    for (const summary of document.querySelectorAll("nav summary:not([aria-label])")) {
      const link = summary.closest("li").querySelector("a");
      summary.setAttribute("aria-label", `Pages of ${link ? link.textContent.trim() : "this part"}`);
    }
  };

  const nameSliders = () => {
    for (const handle of document.querySelectorAll(".noUi-handle:not([aria-label])")) {
      const box = handle.closest(".jupyter-widgets");
      const label = box && box.querySelector(".widget-label");
      handle.setAttribute("aria-label", (label && label.textContent) || "slider");
    }
    for (const group of document.querySelectorAll(".widget-toggle-buttons:not([role])")) {
      const label = group.querySelector(".widget-label");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", (label && label.textContent) || "choices");
    }
    for (const field of document.querySelectorAll(".jupyter-widgets select, .jupyter-widgets input")) {
      const label = field.closest(".jupyter-widgets").querySelector(".widget-label");
      if (label && !field.labels.length && !field.hasAttribute("aria-label")) {
        field.setAttribute("aria-label", label.textContent);
      }
    }
  };

  // The value of a slider is its place in a list; its readout says what that place stands for.
  const tellValues = () => {
    for (const readout of document.querySelectorAll(".jupyter-widgets .widget-readout")) {
      const handle = readout.closest(".jupyter-widgets").querySelector(".noUi-handle");
      if (handle && handle.getAttribute("aria-valuetext") !== readout.textContent) {
        handle.setAttribute("aria-valuetext", readout.textContent);
      }
    }
  };

  // What scrolls must be reachable by keyboard.
  const openScrollers = () => {
    const boxes = ".bd-article pre, .bd-article .cell_output, .bd-article div.math, .bd-article .pst-scrollable-table-container";
    for (const box of document.querySelectorAll(boxes)) {
      const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
      if (scrolls && !box.hasAttribute("tabindex")) box.setAttribute("tabindex", "0");
    }
  };

  const mend = () => {
    nameButtons();
    nameSliders();
    tellValues();
    openScrollers();
  };
  document.addEventListener("DOMContentLoaded", () => {
    answerWidgets();
    mend();
    new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
    window.addEventListener("resize", openScrollers);
  });
})();
