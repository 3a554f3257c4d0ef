// Calls of the API: JSON in, JSON out, and errors that say whether to try again.

const TIMEOUT_MS = 15_000;

export class ApiError extends Error {
  /**
   * @param {number} status 0: no answer, or none that is the API's
   * @param {string} code
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.status === 0 || this.status === 401 || this.status === 429 || this.status >= 500;
  }
}

/**
 * Whether the same request may succeed later: nothing is wrong but the way to the server.
 * @param {unknown} error
 * @returns {error is ApiError}
 */
export function passing(error) {
  return error instanceof ApiError && error.temporary;
}

/**
 * Whether only a login helps.
 * @param {unknown} error
 * @returns {error is ApiError}
 */
export function loggedOut(error) {
  return error instanceof ApiError && error.status === 401;
}

/**
 * The error in the page's language where it is known, else as the server said it.
 * @param {unknown} error
 * @param {Readonly<Record<string, string>>} words
 */
export function explained(error, words) {
  if (error instanceof ApiError) return words[`error_${error.code}`] ?? error.message;
  return String(error);
}

/**
 * All tabs share the cookie: the server refuses what this page asks in the name of another login.
 * @type {Record<string, string>}
 */
const speaksFor = {};

/**
 * From here on this page speaks for the reviewer of this name and for nobody else.
 * @param {string} name
 */
export function speakFor(name) {
  speaksFor["X-HITL-Reviewer"] = encodeURIComponent(name);
}

let ahead = 0; // milliseconds by which the server's clock goes before this browser's

/** What the server's clock shows, in milliseconds since 1970: the browser's may go differently. */
export function serverTime() {
  return Date.now() + ahead;
}

/** The login page, which leads back to here. */
export function loginAddress() {
  return `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
}

/**
 * What the API answers; path, body and answer are those of its OpenAPI document.
 * @template {Api.Method} M
 * @template {string} P
 * @param {M} method
 * @param {Api.Path<M, P>} path below /api/v1
 * @param {Api.Body<M, P>} [body]
 * @param {{ patience?: number, outlives?: boolean }} [options] `outlives`: it is to happen also when
 *   its page is closed meanwhile, as a decision is
 * @returns {Promise<Api.Answer<M, P>>}
 */
export async function call(
  method,
  path,
  body,
  { patience = TIMEOUT_MS, outlives = method !== "GET" } = {},
) {
  let response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: body === undefined ? speaksFor : { ...speaksFor, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      keepalive: outlives,
      signal: AbortSignal.timeout(patience),
    });
  } catch {
    throw offline();
  }
  ahead = (Date.parse(response.headers.get("Date") ?? "") || Date.now()) - Date.now();
  if (response.status === 204) return /** @type {Api.Answer<M, P>} */ (null);
  const answer = await response.json().catch(() => undefined);
  if (!response.ok) {
    const error = answer?.error ?? {};
    throw new ApiError(response.status, error.code ?? "error", error.message ?? response.statusText);
  }
  // Broken off on the way, or the page of a proxy that wants a login of its own.
  if (answer === undefined) throw offline();
  return answer;
}

function offline() {
  return new ApiError(0, "offline", "The server cannot be reached.");
}
