// The words that speak for the AI's label, and against it: marked in the item's text while the
// reviewer wants it, and named below it for those who do not see the marks.
import { ApiError, call } from "../http.js";
import { make, span } from "../show.js";
import { fill } from "../words/words.js";

const STORE = "hitl-highlights";
// What a word adds to the label's log-odds: 0.25 moves 50 % to 56 %, 0.75 to 68 %, 1.5 to 82 %.
const STRENGTHS = [0.25, 0.75, 1.5];
const ASK_AGAIN_MS = [1_500, 5_000]; // an item just routed is weighed within seconds
const NAMED = 5;

export class Highlights {
  /** @type {Ui.Task | undefined} */
  task = undefined;
  /** @type {Ui.Timer | undefined} */
  again = undefined;
  on = kept();

  /**
   * @param {Ui.At} at
   * @param {Ui.Words} words
   */
  constructor(at, words) {
    this.at = at;
    this.words = words;
    this.#showButton();
  }

  /**
   * Shows the text of `task`, with its marks where they are wanted and there are any.
   * @param {Ui.Task} task
   */
  draw(task) {
    clearTimeout(this.again);
    this.task = task;
    this.#redraw(task);
    if (this.#wanted(task) && task.highlights === null) this.#ask(task, [...ASK_AGAIN_MS]);
  }

  /** Marks on or off, from now on; whether they are on. */
  toggle() {
    this.on = !this.on;
    try {
      localStorage.setItem(STORE, this.on ? "on" : "off");
    } catch {
      // Storage full or forbidden: the choice holds for this page.
    }
    this.#showButton();
    if (this.task !== undefined) this.draw(this.task);
    return this.on;
  }

  /**
   * A blind item has none, and nobody asks for them.
   * @param {Ui.Task} task
   */
  #wanted(task) {
    return this.on && task.suggestion !== null;
  }

  #showButton() {
    this.at("highlights").setAttribute("aria-pressed", String(this.on));
  }

  /** @param {Ui.Task} task */
  #redraw(task) {
    this.at("highlights").hidden = task.suggestion === null;
    const pieces = this.#wanted(task) ? task.highlights : null;
    // Text nodes and marks filled by textContent: nothing of an item is ever markup.
    if (pieces) this.at("text").replaceChildren(...pieces.map(marked));
    else this.at("text").textContent = task.text;
    this.at("legend").hidden = !this.#wanted(task);
    if (this.#wanted(task)) this.at("legend").replaceChildren(...this.#legend(task));
  }

  /** @param {Ui.Task} task */
  #legend({ highlights, suggestion }) {
    if (!highlights) return [span(this.words.highlights_none)];
    /** @type {[string, string, 1 | -1][]} */
    const both = [
      ["rv-for", fill(this.words.highlights_for, { label: suggestion?.label ?? "" }), 1],
      ["rv-against", this.words.highlights_against, -1],
    ];
    const lines = both.flatMap(([kind, title, sign]) => {
      const named = strongest(highlights, sign);
      if (named.length === 0) return [];
      const words = named.map((piece) => make("mark", kind, piece.text));
      return [make("span", "", [span(title), ...words.flatMap((word) => [" ", word])])];
    });
    return lines.length > 0 ? lines : [span(this.words.highlights_weak)];
  }

  /**
   * @param {Ui.Task} task
   * @param {number[]} delays before the next tries
   */
  async #ask(task, delays) {
    let found = null;
    try {
      found = await call("GET", `/tasks/${encodeURIComponent(task.id)}/highlights`);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) return;
    }
    if (found !== null) task.highlights = found.pieces;
    if (task !== this.task) return;
    if (found !== null) this.#redraw(task);
    else if (delays.length > 0) {
      this.again = setTimeout(() => this.#ask(task, delays.slice(1)), delays[0]);
    }
  }
}

function kept() {
  try {
    return localStorage.getItem(STORE) === "on";
  } catch {
    return false;
  }
}

/** @param {number} weight */
function strength(weight) {
  return STRENGTHS.filter((least) => Math.abs(weight) >= least).length;
}

/** @param {Api.Piece} piece */
function marked({ text, weight }) {
  const strong = weight === null ? 0 : strength(weight);
  if (weight === null || strong === 0) return document.createTextNode(text);
  return make("mark", `${weight > 0 ? "rv-for" : "rv-against"} rv-strength-${strong}`, text);
}

/**
 * The few words that count most for (1) or against (-1), each once.
 * @param {Api.Piece[]} pieces
 * @param {1 | -1} sign
 */
function strongest(pieces, sign) {
  const counting = pieces
    .map(({ text, weight }) => ({ text, weight: (weight ?? 0) * sign }))
    .filter(({ weight }) => weight > 0 && strength(weight) > 0)
    .sort((one, other) => other.weight - one.weight);
  const seen = new Set();
  /** @param {{ text: string }} piece */
  const first = ({ text }) => !seen.has(text.toLowerCase()) && seen.add(text.toLowerCase());
  return counting.filter(first).slice(0, NAMED);
}
