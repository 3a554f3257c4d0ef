// How the reviewer is doing: counts, the last decisions, and whether everything is saved.
import { call, explained, loggedOut, loginAddress, passing } from "../http.js";
import { make, percent, shortText, span } from "../show.js";
import { fill } from "../words/words.js";

const STATS_EVERY_MS = 10_000;
const AGAIN_MS = 2_000; // while the server is away: when it is back is seen soon
const LAST = 8;
const NAMED = 40; // characters of an answer

export class Day {
  forOthers = 0;
  /** The newest first. @type {Ui.Decided[]} */
  decided = [];
  /** @type {Ui.Timer | null} */
  soon = null;

  /**
   * @param {Ui.At} at
   * @param {Ui.Words} words
   * @param {object} on
   * @param {() => Api.Filter} on.filter what is chosen
   * @param {(counts: Api.QueueStats[]) => void} on.queues
   * @param {(error: unknown) => void} on.trouble null: it is over
   * @param {() => void} on.forOthers another number than before waits for a second person
   */
  constructor(at, words, on) {
    this.at = at;
    this.words = words;
    this.on = on;
  }

  start() {
    this.#loadLast();
    this.load();
    setInterval(() => document.hidden || this.load(), STATS_EVERY_MS);
  }

  /** Counts again in a moment, once for many decisions. */
  loadSoon() {
    this.soon ??= setTimeout(() => this.load(), 1_000);
  }

  async load() {
    clearTimeout(this.soon ?? undefined);
    this.soon = null;
    try {
      const { queues, me } = await call("GET", "/stats");
      const { workflow, queue } = this.on.filter();
      const open = queues
        .filter((each) => (!workflow || each.workflow === workflow) && (!queue || each.queue === queue))
        .reduce((sum, each) => sum + each.open, 0);
      this.at("stat-queue").textContent = open.toLocaleString();
      this.at("stat-decided").textContent = me.decided.toLocaleString();
      this.at("stat-agreement").textContent = me.agreement === null ? "–" : percent(me.agreement);
      this.on.queues(queues);
      if (me.for_others !== this.forOthers) {
        this.forOthers = me.for_others;
        this.on.forOthers();
      }
      this.on.trouble(null);
    } catch (error) {
      if (!passing(error)) return;
      this.on.trouble(error);
      if (!loggedOut(error)) this.soon ??= setTimeout(() => this.load(), AGAIN_MS);
    }
  }

  /** @param {Ui.Decided} decision */
  add(decision) {
    this.decided.unshift(decision);
  }

  /**
   * Takes a decision off the list again.
   * @param {Ui.Decided} decision
   */
  drop(decision) {
    this.decided = this.decided.filter((each) => each !== decision);
  }

  showLast() {
    const rows = this.decided.slice(0, LAST).map((each) => {
      const what = shortText(each.label ?? this.words[each.action === "skip" ? "skipped" : "flagged"], NAMED);
      return make("li", each.late ? "rv-gone" : "", [
        span(`#${shortText(each.task?.item_id ?? each.itemId ?? "", 16)}`),
        span(each.late ? `${what} · ${this.words.late}` : what, each.changed ? "rv-changed" : ""),
      ]);
    });
    if (rows.length === 0) rows.push(make("li", "rv-none", this.words.no_decisions));
    this.at("last").replaceChildren(...rows);
    const median = middle(this.decided.flatMap(({ took }) => took ?? []));
    this.at("stat-median").textContent = median === undefined ? "–" : `${median.toFixed(1)} s`;
  }

  /**
   * Whether decisions wait, and for what.
   * @param {number} unsent
   * @param {unknown} trouble
   * @param {boolean} safe the browser keeps them
   */
  showSync(unsent, trouble, safe) {
    const { words } = this;
    const sync = this.at("sync");
    const offline = unsent ? fill(words.offline_unsent, { n: unsent }) : words.offline;
    const saving = unsent ? fill(words.saving, { n: unsent }) : words.saved;
    sync.textContent = trouble ? offline : saving;
    sync.dataset.state = trouble ? "away" : unsent > 0 ? "busy" : "saved";
    const banner = this.at("banner");
    banner.hidden = !trouble;
    const said = trouble ? this.#told(unsent, trouble, safe) : [];
    const text = said.map((each) => each.textContent).join(" ");
    if (banner.dataset.text === text) return; // read aloud once; a link keeps the focus
    banner.dataset.text = text;
    banner.replaceChildren(...said.flatMap((each) => [each, " "]));
  }

  /**
   * What has happened, what is kept, and what comes next.
   * @param {number} unsent
   * @param {unknown} trouble
   * @param {boolean} safe
   */
  #told(unsent, trouble, safe) {
    const { words } = this;
    if (loggedOut(trouble)) {
      const link = make("a", "", words.log_in_link);
      link.href = loginAddress();
      const other = trouble.code === "another_login";
      return [span(other ? words.ended_another_login : words.log_in_again), link];
    }
    const kept = safe ? words.away_unsent : words.away_unsafe;
    return [span(explained(trouble, words)), span(unsent > 0 ? kept : words.away)];
  }

  async #loadLast() {
    try {
      const { decisions } = await call("GET", `/decisions?limit=${LAST}`);
      const known = new Set(this.decided.map((each) => each.key));
      for (const each of decisions) {
        if (each.undone || known.has(each.key)) continue;
        const { key, action, label } = each;
        const changed = action !== "accept" && action !== "label";
        const late = !each.effective;
        this.decided.push({ key, action, label, changed, late, itemId: each.item_id, task: null });
      }
    } catch {
      // Only a convenience: what is decided from now on is listed all the same.
    }
    this.showLast();
  }
}

/**
 * The median; of an even number the upper one of both.
 * @param {number[]} values
 */
export function middle(values) {
  return values.sort((one, other) => one - other)[Math.floor(values.length / 2)];
}
