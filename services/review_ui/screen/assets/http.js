// How does the page talk to the API? JSON in, JSON out, and errors that say whether to try again.

const TIMEOUT_MS = 15_000;

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status; // 0: no answer at all
    this.code = code;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.status === 0 || this.status === 401 || this.status === 429 || this.status >= 500;
  }
}

// All tabs share the cookie: the server refuses what this page asks in the name of another login.
const speaksFor = {};

/** From here on this page speaks for the reviewer of this name and for nobody else. */
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

/** `outlives`: it is to happen also when its page is closed meanwhile, as a decision is. */
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
    throw new ApiError(0, "offline", "The server cannot be reached.");
  }
  ahead = (Date.parse(response.headers.get("Date")) || Date.now()) - Date.now();
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const error = answer?.error ?? {};
    throw new ApiError(response.status, error.code ?? "error", error.message ?? response.statusText);
  }
  return answer;
}
