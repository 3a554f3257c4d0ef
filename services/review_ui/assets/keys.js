// Which key does what? One listener in the capture phase, so that nothing on the page can swallow a
// key; it leaves alone what is typed into fields, repeats, shortcuts of the browser and IME input.

const KEYS = {
  a: "accept",
  s: "skip",
  f: "flag",
  u: "undo",
  n: "note",
  h: "highlights",
  x: "filter-clear",
  b: "batch",
  l: "leads",
  "/": "filter",
  "?": "help",
};

export function bindKeys(root, act, active) {
  document.addEventListener(
    "keydown",
    (event) => {
      active();
      const shown = root.offsetParent !== null;
      const held = event.repeat || event.ctrlKey || event.metaKey || event.altKey;
      if (!shown || held || event.isComposing || root.querySelector("dialog[open]")) return;
      const target = aimedAt(event.target);
      if (target.closest("input, textarea, select, [contenteditable]")) return;
      const found = meaning(event, target);
      if (found === null) return;
      event.preventDefault();
      event.stopPropagation();
      act(...found);
    },
    { capture: true },
  );
}

/** A dialog that has just closed keeps the focus until the next frame: keys are not for it. */
function aimedAt(target) {
  const within = target instanceof Element && target.closest("dialog:not([open])") === null;
  return within ? target : document.body;
}

function meaning(event, target) {
  if (event.key === "Enter") {
    // On a button or a link, Enter means that button.
    return target.closest("button, a, summary") ? null : ["accept"];
  }
  if (/^[1-9]$/.test(event.key)) return ["label", Number(event.key) - 1];
  const name = KEYS[event.key.toLowerCase()];
  return name === undefined ? null : [name];
}
