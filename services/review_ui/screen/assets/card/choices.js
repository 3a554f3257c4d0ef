// Which work the reviewer wants. What is chosen stands in the page's address, so that it can be
// shared and survives a reload; workflow and queue are kept in this browser as well.

/**
 * Part of the address → part of the filter, as the API's claim takes it.
 * @type {Readonly<Record<string, keyof Api.Filter>>}
 */
const PARTS = {
  workflow: "workflow",
  queue: "queue",
  label: "label",
  min: "min_confidence",
  max: "max_confidence",
  q: "q",
  only: "only",
};
const KEPT = /** @type {const} */ (["workflow", "queue"]);
const SHARES = ["min", "max"]; // in the address as per cent

export class Choices {
  /**
   * @param {Ui.At} at
   * @param {Ui.Words} words
   * @param {Api.Me} me
   * @param {(filter: Api.Filter) => void} changed another choice
   */
  constructor(at, words, me, changed) {
    this.at = at;
    this.words = words;
    this.workflows = me.workflows.map((each) => each.name);
    this.store = `hitl-filter:${me.name}`;
    this.leads = me.role !== "reviewer";
    this.changed = changed;
    this.filter = this.#fromAddress() ?? this.#kept();
    this.#offer("workflow", words.workflow, words.workflow_all, this.workflows);
    for (const name of KEPT) {
      const select = at(name);
      select.addEventListener("change", () => {
        this.set({ [name]: select.value });
        select.blur();
      });
    }
    this.#toAddress();
  }

  /** Whether it looks at the item or at what the AI thinks of it: then blind items are left out. */
  get narrows() {
    return Object.keys(this.filter).some((name) => !["workflow", "queue", "only"].includes(name));
  }

  /**
   * Changes parts of the filter; an empty value takes one away.
   * @param {{ [N in keyof Api.Filter]: Api.Filter[N] | "" }} changes
   */
  set(changes) {
    // Another workflow has other queues and labels.
    const start = "workflow" in changes ? { ...this.filter, queue: "", label: "" } : this.filter;
    const all = Object.entries({ ...start, ...changes });
    this.filter = Object.fromEntries(all.filter(([, value]) => (value ?? "") !== ""));
    for (const name of KEPT) this.at(name).value = this.filter[name] ?? "";
    const { workflow, queue } = this.filter;
    try {
      localStorage.setItem(this.store, JSON.stringify({ workflow, queue }));
    } catch {
      // Storage full or forbidden: the choice holds for this page.
    }
    this.#toAddress();
    this.changed(this.filter);
  }

  clear() {
    this.set(Object.fromEntries(Object.values(PARTS).map((name) => [name, ""])));
  }

  /**
   * Offers the queues in which something waits.
   * @param {Api.QueueStats[]} counts
   */
  offerQueues(counts) {
    const { workflow } = this.filter;
    const found = counts.filter((each) => !workflow || each.workflow === workflow);
    const names = [...new Set(found.map((each) => each.queue))].sort();
    this.#offer("queue", this.words.queue_choice, this.words.queue_all, names);
  }

  /**
   * @param {"workflow" | "queue"} name
   * @param {string} label
   * @param {string} all
   * @param {string[]} values
   */
  #offer(name, label, all, values) {
    const select = this.at(name);
    const chosen = this.filter[name] ?? "";
    const offered = chosen && !values.includes(chosen) ? [chosen, ...values] : values;
    select.hidden = offered.length < 2 && !chosen;
    const key = JSON.stringify(offered);
    if (select.dataset.offered === key) return; // never under an open list
    select.dataset.offered = key;
    select.setAttribute("aria-label", label);
    const options = offered.map((each) => new Option(each, each));
    select.replaceChildren(new Option(all, ""), ...options);
    select.value = chosen;
  }

  /** @returns {Api.Filter | null} */
  #fromAddress() {
    const given = new URLSearchParams(location.search);
    /** @type {Record<string, any>} */
    const found = {};
    for (const [part, name] of Object.entries(PARTS)) {
      const value = given.get(part)?.trim().slice(0, 200);
      if (!value) continue;
      const share = Number(value) / 100;
      if (!SHARES.includes(part)) found[name] = value;
      else if (share >= 0 && share <= 1) found[name] = share;
    }
    if (found.workflow && !this.workflows.includes(found.workflow)) delete found.workflow;
    if (!this.leads || !["disputed", "flagged"].includes(found.only)) delete found.only;
    return Object.keys(found).length > 0 ? found : null;
  }

  #toAddress() {
    const given = new URLSearchParams(location.search);
    for (const [part, name] of Object.entries(PARTS)) {
      const value = this.filter[name];
      if (value === undefined || value === null) given.delete(part);
      else given.set(part, typeof value === "number" ? perCent(value) : value);
    }
    const query = given.toString();
    history.replaceState(history.state, "", query ? `/?${query}` : "/");
  }

  /** @returns {Api.Filter} */
  #kept() {
    try {
      const { workflow, queue } = JSON.parse(localStorage.getItem(this.store) ?? "{}");
      if (workflow && !this.workflows.includes(workflow)) return {};
      return { ...(workflow && { workflow }), ...(queue && { queue }) };
    } catch {
      return {};
    }
  }
}

/**
 * A share as people type it: 0.855 → "85.5".
 * @param {number} share
 */
export function perCent(share) {
  return String(Math.round(share * 1e4) / 100);
}
