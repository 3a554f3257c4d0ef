// How is the reviewer doing? Counts, the last decisions, and whether everything is saved.
import { ApiError, call, loginAddress } from "./http.js";
import { make, percent, shortText, span } from "./show.js";
import { fill } from "./words.js";

const STATS_EVERY_MS = 10_000;
const LAST = 8;

export class Day {
  /** filter(): what is chosen; queues(counts), trouble(error or null): what the server said. */
  constructor(at, words, { filter, queues, trouble }) {
    this.at = at;
    this.words = words;
    this.on = { filter, queues, trouble };
    this.durations = [];
    this.decided = []; // the newest first
    this.soon = null;
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
    clearTimeout(this.soon);
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
      this.on.trouble(null);
    } catch (error) {
      if (error instanceof ApiError && error.temporary) this.on.trouble(error);
    }
  }

  add(decision, took) {
    this.durations.push(took);
    this.decided.unshift(decision);
  }

  /** Takes a decision off the list again. */
  drop(decision) {
    this.decided = this.decided.filter((each) => each !== decision);
  }

  showLast() {
    const rows = this.decided.slice(0, LAST).map((each) => {
      const what = each.label ?? this.words[each.action === "skip" ? "skipped" : "flagged"];
      return make("li", each.late ? "rv-gone" : "", [
        span(`#${shortText(each.task?.item_id ?? each.itemId, 16)}`),
        span(each.late ? `${what} · ${this.words.late}` : what, each.changed ? "rv-changed" : ""),
      ]);
    });
    if (rows.length === 0) rows.push(make("li", "rv-none", this.words.no_decisions));
    this.at("last").replaceChildren(...rows);
    const sorted = [...this.durations].sort((one, other) => one - other);
    const median = sorted[Math.floor(sorted.length / 2)];
    this.at("stat-median").textContent = median === undefined ? "–" : `${median.toFixed(1)} s`;
  }

  /** Whether `unsent` decisions wait, and for what. */
  showSync(unsent, trouble) {
    const sync = this.at("sync");
    const offline = unsent ? fill(this.words.offline_unsent, { n: unsent }) : this.words.offline;
    const saving = unsent ? fill(this.words.saving, { n: unsent }) : this.words.saved;
    sync.textContent = trouble ? offline : saving;
    sync.dataset.state = trouble ? "away" : unsent > 0 ? "busy" : "saved";
    const banner = this.at("banner");
    banner.hidden = !trouble;
    if (!trouble) return;
    const link = make("a", "", this.words.log_in_link);
    link.href = loginAddress();
    const why = this.words[`error_${trouble.code}`] ?? trouble.message;
    banner.replaceChildren(
      ...(trouble.status === 401
        ? [span(`${this.words.log_in_again} `), link]
        : [span(`${why} ${offline}.`)]),
    );
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
