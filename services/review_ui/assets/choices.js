// Which work does the reviewer want? A workflow, a queue; the choice is kept in this browser.

export class Choices {
  /** changed(filter): another choice, as the API's claim takes it. */
  constructor(at, words, me, changed) {
    this.at = at;
    this.words = words;
    this.workflows = me.workflows.map((each) => each.name);
    this.store = `hitl-filter:${me.name}`;
    this.changed = changed;
    this.filter = this.#kept();
    this.#offer("workflow", words.workflow, words.workflow_all, this.workflows);
    for (const name of ["workflow", "queue"]) {
      at(name).addEventListener("change", (event) => this.#choose(name, event.target));
    }
  }

  /** Offers the queues in which something waits. */
  offerQueues(counts) {
    const { workflow } = this.filter;
    const found = counts.filter((each) => !workflow || each.workflow === workflow);
    const names = [...new Set(found.map((each) => each.queue))].sort();
    this.#offer("queue", this.words.queue_choice, this.words.queue_all, names);
  }

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

  #choose(name, select) {
    const { [name]: _, ...rest } = this.filter;
    // Another workflow has other queues.
    const others = name === "workflow" ? {} : rest;
    this.filter = select.value ? { ...others, [name]: select.value } : others;
    if (name === "workflow") this.at("queue").value = "";
    try {
      localStorage.setItem(this.store, JSON.stringify(this.filter));
    } catch {
      // Storage full or forbidden: the choice holds for this page.
    }
    this.changed(this.filter);
    select.blur();
  }

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
