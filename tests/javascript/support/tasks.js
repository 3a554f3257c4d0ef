// Tasks and people as the API shows them.

/**
 * @param {string} id
 * @param {Partial<Api.Task>} [given]
 * @returns {Ui.Task}
 */
export function task(id, given = {}) {
  return {
    id,
    workflow: "sentiment",
    item_id: `item-${id}`,
    text: "a quiet, generous film",
    metadata: {},
    details: [],
    received_at: "2024-05-01T12:00:00Z",
    labels: ["negative", "positive"],
    kind: "label",
    draft: null,
    candidates: null,
    action: null,
    blind: false,
    prediction: {
      answer: { label: "positive" },
      brief: "positive",
      confidence: 0.7,
      parts: { negative: 0.3, positive: 0.7 },
      model_version: "test@1",
      threshold: 0.85,
    },
    suggestion: {
      label: "positive",
      confidence: 0.7,
      distribution: { negative: 0.3, positive: 0.7 },
      model_version: "test@1",
      threshold: 0.85,
    },
    highlights: null,
    truncated: false,
    reasons: [],
    queue: "default",
    priority: 0,
    due_at: null,
    status: "leased",
    revision: 0,
    answers: [],
    lease_token: 1,
    lease_expires_at: null,
    ...given,
  };
}

/**
 * @param {string} name
 * @param {string[]} labels
 * @param {Partial<Api.Me["workflows"][number]>} [given]
 * @returns {Api.Me["workflows"][number]}
 */
export function workflow(name, labels, given = {}) {
  return { name, answer: "label", labels, schema: null, overlap: false, guideline: "", ...given };
}

/** @type {Api.Me} */
export const ADA = {
  name: "ada",
  role: "reviewer",
  workflows: [
    workflow("sentiment", ["negative", "positive"]),
    workflow("spam", ["ham", "spam"]),
  ],
  lease_seconds: 300,
  undo_seconds: 5,
};

/** @type {Api.Me} */
export const LEAD = { ...ADA, name: "lea", role: "lead" };
