import { SluiceClientError } from "./error.ts";

/** Where fetch always fails (Fetch Standard, "port blocking"), and looks as if nobody answered. */
export const PORTS_BLOCKED: ReadonlySet<number> = new Set([
  1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
  103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465,
  512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
  995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
  6669, 6679, 6697, 10080,
]);

interface RequestParts {
  readonly url: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Throws `request_invalid` for what fetch refuses before it has sent anything: no repeat can mend it. */
export function checkRequest({ url: base, headers }: RequestParts): void {
  // Neither the URL nor a header is repeated: both may hold a password.
  if (!URL.canParse(String(base))) throw invalid("the URL cannot be read");
  const { protocol, port, username, password } = new URL(base);
  if (!/^https?:$/.test(protocol)) throw invalid("the URL is neither http: nor https:");
  if (username !== "" || password !== "") throw invalid("the URL has a user or password in it");
  if (port !== "" && PORTS_BLOCKED.has(Number(port))) {
    throw invalid(
      `fetch blocks port ${port}, which belongs to another protocol; take another port`,
    );
  }
  if (!canBeSent(headers)) {
    throw invalid("a header has a name or value that HTTP does not allow");
  }
}

function canBeSent(headers: RequestParts["headers"]): boolean {
  try {
    const parsed = new Headers(headers);
    return parsed instanceof Headers;
  } catch {
    return false;
  }
}

function invalid(message: string): SluiceClientError {
  return new SluiceClientError("request_invalid", message);
}

/** `<base>/v1/<path>`, whatever the base is mounted at. */
function endpoint(base: string | URL, path: string): URL {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/${path}`;
  url.search = "";
  url.hash = "";
  return url;
}

/** Where a connection is acknowledged. */
export function ackUrl(base: string | URL, id: string): URL {
  return endpoint(base, `connections/${encodeURIComponent(id)}/ack`);
}

/** Where one topic is. Its slashes separate segments and stay. */
export function topicUrl(base: string | URL, topic: string): URL {
  return endpoint(base, `topics/${topic.split("/").map(encodeURIComponent).join("/")}`);
}

/** Where many topics are read on one connection. */
export function eventsUrl(base: string | URL, topics: readonly string[]): URL {
  const url = endpoint(base, "events");
  for (const topic of topics) url.searchParams.append("topic", topic);
  return url;
}
