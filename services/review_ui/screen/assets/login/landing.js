// Where a login leads: to where it was asked for, on this site only.

/** @param {Pick<Location, "origin" | "search">} here */
export function landing({ origin, search }) {
  const next = new URLSearchParams(search).get("next") ?? "/";
  if (!URL.canParse(next, origin)) return "/";
  const found = new URL(next, origin);
  return found.origin === origin ? found.href : "/";
}
