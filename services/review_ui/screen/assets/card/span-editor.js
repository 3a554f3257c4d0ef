// The spans of a text while somebody works on them: what is selected, and which span is in hand.
// Places are UTF-16 units.
import { added, inOrder } from "./span-list.js";
import { SpanText } from "./span-text.js";
import { ends, trimmed, words } from "./word-steps.js";

/** @typedef {import("./span-list.js").Span} Span */
/** @typedef {import("./word-steps.js").Selected} Selected */

export class SpanEditor {
  text = "";
  /** @type {readonly string[]} */
  labels = [];
  overlap = false;
  /** @type {readonly Span[]} */
  spans = [];
  /** The span in hand. @type {Span | null} */
  active = null;
  /** @type {Selected | null} */
  selected = null;
  /** @type {import("./word-steps.js").Stretch[] | null} */
  #words = null;

  /**
   * @param {HTMLElement} element of the text
   * @param {object} on
   * @param {() => boolean} on.here whether the text is one with spans just now
   * @param {() => void} on.changed other spans
   * @param {() => void} on.chosen another selection
   * @param {(gone: readonly Span[]) => void} on.removed these are no more
   * @param {() => void} on.refused a span would have come to lie over another one
   */
  constructor(element, on) {
    this.element = element;
    this.on = on;
    this.drawn = new SpanText(element);
    // A finger on a button takes the browser's selection away: what was selected last counts, until
    // the text is touched again.
    document.addEventListener("selectionchange", () => on.here() && this.#follow());
    element.addEventListener("pointerdown", () => on.here() && this.choose(null, null));
    element.addEventListener("click", (event) => {
      const span = on.here() && !this.drawn.selected() && this.drawn.spanAt(event.target);
      if (span) this.activate(span);
    });
  }

  /** Of the text, in order. */
  get words() {
    this.#words ??= words(this.text);
    return this.#words;
  }

  /**
   * @param {string} text
   * @param {readonly string[]} labels
   * @param {Span[]} spans
   * @param {boolean} overlap
   */
  show(text, labels, spans, overlap) {
    Object.assign(this, { text, labels, spans, overlap, active: null, selected: null });
    this.#words = null;
    this.drawn.draw(text, spans, labels);
  }

  /**
   * Gives the span in hand, or what is selected, this label; false: there is neither.
   * @param {string} label
   */
  label(label) {
    const { active } = this;
    const chosen = active ? { anchor: active.start, focus: active.end } : this.selected;
    const within = chosen && trimmed(this.text, chosen);
    if (within === null) return false;
    const [start, end] = ends(within);
    const span = { start, end, label };
    this.#change(added(this.#without(active), span, this.overlap), span);
    return true;
  }

  /**
   * The selection, and the span in hand with it, ends elsewhere.
   * @param {Selected} selected
   */
  reach(selected) {
    const { active } = this;
    if (active === null) {
      this.choose(selected, null);
      return;
    }
    const [start, end] = ends(selected);
    const span = { start, end, label: active.label };
    const others = this.#without(active);
    if (added(others, span, this.overlap).length <= others.length) this.on.refused();
    else this.#change([...others, span].sort(inOrder), span, selected);
  }

  /** Takes the span in hand away, or all within the selection; false: there is none. */
  remove() {
    const { active, selected } = this;
    const [low, high] = selected ? ends(selected) : [0, 0];
    /** @param {Span} span */
    const goes = (span) => (active ? span === active : span.start >= low && span.end <= high);
    const gone = this.spans.filter(goes);
    if (gone.length === 0) return false;
    this.#change(this.spans.filter((each) => !goes(each)), null, selected);
    this.on.removed(gone);
    return true;
  }

  /** @param {Span} span */
  activate(span) {
    this.choose({ anchor: span.start, focus: span.end }, span);
  }

  /**
   * Selects; whether anything was selected before.
   * @param {Selected | null} selected
   * @param {Span | null} active
   */
  choose(selected, active) {
    const was = this.selected !== null;
    if (active !== this.active) this.drawn.activate(active);
    this.active = active;
    this.selected = selected;
    if (selected) this.drawn.select(selected);
    else this.drawn.unselect();
    this.on.chosen();
    return was;
  }

  /** What the browser has selected, by mouse or finger. */
  #follow() {
    const found = this.drawn.selected();
    const { selected } = this;
    if (found === null || (found.anchor === selected?.anchor && found.focus === selected.focus)) return;
    this.selected = found;
    if (this.active) this.drawn.activate(null);
    this.active = null;
    this.on.chosen();
  }

  /** @param {Span | null} span */
  #without(span) {
    return this.spans.filter((each) => each !== span);
  }

  /**
   * @param {Span[]} spans
   * @param {Span | null} active
   * @param {Selected | null} [selected]
   */
  #change(spans, active, selected = active && { anchor: active.start, focus: active.end }) {
    this.spans = spans;
    this.active = active;
    const { scrollTop } = this.element;
    this.drawn.redraw(spans, active);
    this.element.scrollTop = scrollTop;
    this.choose(selected, active);
    this.on.changed();
  }
}
