"use strict";
// First, in a script of its own: an error anywhere later, even of syntax, is seen in the page and by its tests.
(() => {
  const say = (text) => {
    const place = document.getElementById("errors");
    place.hidden = false;
    place.textContent += `${text}\n`;
  };
  window.onerror = (message, _, line) => say(`${message} (line ${line})`);
  window.addEventListener("unhandledrejection", (event) => say(`${event.reason}`));
  document.addEventListener("securitypolicyviolation", (event) => say(`not loaded: ${event.blockedURI}`));
})();
