// Which key does what: one listener in the capture phase, so that nothing on the page can swallow a
// key; it leaves alone what is typed into fields, repeats, shortcuts of the browser and IME input.

/** @type {Readonly<Record<string, Ui.ActionName>>} */
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

// These move the item's text, wherever the focus was left.
const READ = new Set(["PageDown", "PageUp", "ArrowDown", "ArrowUp", "Home", "End", " "]);

/**
 * @param {HTMLElement} root
 * @param {(name: Ui.ActionName, detail?: Ui.Detail) => void} act
 * @param {() => void} active somebody is there
 * @param {(event: KeyboardEvent, target: Element) => boolean} [own] whether the kind of answer has a
 *   meaning of its own for the key; then it is done
 */
export function bindKeys(root, act, active, own = () => false) {
  const text = /** @type {HTMLElement} */ (root.querySelector('[data-id="text"]'));
  // Whoever works with the mouse or a finger works as well.
  for (const sign of ["keydown", "pointerdown", "wheel"]) {
    document.addEventListener(sign, active, { capture: true, passive: true });
  }
  document.addEventListener(
    "keydown",
    (event) => {
      const shown = root.offsetParent !== null;
      const held = event.repeat || event.ctrlKey || event.metaKey || event.altKey;
      if (!shown || event.isComposing || root.querySelector("dialog[open]")) return;
      const target = aimedAt(event.target);
      if (target.closest("input, textarea, select, [contenteditable]")) return;
      if (own(event, target)) {
        event.preventDefault();
        event.stopPropagation();
        return;
      }
      if (held) return;
      if (READ.has(event.key) && target === document.body) text.focus({ preventScroll: true });
      const found = meaning(event, target);
      if (found === null) return;
      event.preventDefault();
      event.stopPropagation();
      act(...found);
    },
    { capture: true },
  );
}

/**
 * A dialog that has just closed keeps the focus until the next frame: keys are not for it.
 * @param {EventTarget | null} target
 */
function aimedAt(target) {
  const within = target instanceof Element && target.closest("dialog:not([open])") === null;
  return within ? target : document.body;
}

/**
 * @param {KeyboardEvent} event
 * @param {Element} target
 * @returns {[Ui.ActionName, Ui.Detail?] | null}
 */
function meaning(event, target) {
  if (event.key === "Enter") {
    // On a button or a link, Enter means that button.
    return target.closest("button, a, summary") ? null : ["send"];
  }
  const number = digit(event);
  if (number !== null) return ["label", number - 1];
  const name = KEYS[letter(event)];
  return name === undefined ? null : [name];
}

/**
 * 1 to 9, or null; also where the keyboard gives digits with Shift only (AZERTY).
 * @param {KeyboardEvent} event
 */
export function digit(event) {
  if (/^[1-9]$/.test(event.key)) return Number(event.key);
  const place = event.shiftKey ? null : /^Digit([1-9])$/.exec(event.code);
  return place === null ? null : Number(place[1]);
}

/**
 * What the key says; on a keyboard without Latin letters, the one in its place.
 * @param {KeyboardEvent} event
 */
function letter({ key, code }) {
  const place = /^Key([A-Z])$/.exec(code);
  return (key.length === 1 && key > "\x7f" && place?.[1] ? place[1] : key).toLowerCase();
}
