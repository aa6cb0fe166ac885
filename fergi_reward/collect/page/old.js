// For browsers too old for the modules of the page: it says so. Plain old syntax on purpose.
(function () {
  if (!("noModule" in document.createElement("script")) || !window.structuredClone || !window.HTMLDialogElement) {
    document.documentElement.className = "old";
    document.getElementById("old").hidden = false;
  }
})();
