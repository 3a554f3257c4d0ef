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
    blind: false,
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

/** @type {Api.Me} */
export const ADA = {
  name: "ada",
  role: "reviewer",
  workflows: [
    { name: "sentiment", labels: ["negative", "positive"], guideline: "" },
    { name: "spam", labels: ["ham", "spam"], guideline: "" },
  ],
  lease_seconds: 300,
  undo_seconds: 5,
};

/** @type {Api.Me} */
export const LEAD = { ...ADA, name: "lea", role: "lead" };
