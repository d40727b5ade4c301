// REST with the login of the page. What goes wrong is an ApiError, whose message a person can read.

const MOST_KEPT = 20_000; // characters, of up to three bytes

export class ApiError extends Error {
  constructor(status, body) {
    super(inWords(body) || `the server answered with status ${status}`);
    this.status = status; // 0: there was no answer
    this.body = body;
  }
}

export const get = (path) => request("GET", path);
export const post = (path, body = {}) => request("POST", path, body);
export const patch = (path, body) => request("PATCH", path, body, true);
export const remove = (path) => request("DELETE", path);

/** A request that is `kept` ends also when its page is closed; browsers allow 64 KiB for these. */
async function request(method, path, body, isKept = false) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  const text = JSON.stringify(body);
  const keepalive = isKept && text.length < MOST_KEPT;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: text, credentials: "same-origin", keepalive });
  } catch {
    throw new ApiError(0, { detail: "the server does not answer" });
  }
  const isJson = answer.headers.get("Content-Type")?.startsWith("application/json");
  const content = isJson ? await answer.json() : null;
  if (!answer.ok) throw new ApiError(answer.status, content);
  return content;
}

// The cookie, not the form in the page: a login in another tab replaces it.
function csrfToken() {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}

// {"detail": "..."} or {"field": ["..."]}, as REST says what is wrong.
function inWords(body) {
  if (typeof body === "string") return body;
  if (Array.isArray(body)) return body.map(inWords).join("; ");
  if (!body || typeof body !== "object") return "";
  const parts = Object.entries(body).map(([field, value]) => (field === "detail" ? inWords(value) : `${field}: ${inWords(value)}`));
  return parts.join("; ");
}
