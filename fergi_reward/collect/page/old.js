// For browsers too old for the page's style, which needs more than its modules do: it says so. Plain old syntax on purpose.
(function () {
  function styles(condition) {
    return window.CSS && CSS.supports && CSS.supports(condition);
  }
  if (!styles("selector(:has(a))") || !styles("color: color-mix(in srgb, red, red)")) {
    document.documentElement.className = "old";
    document.getElementById("old").hidden = false;
  }
})();
