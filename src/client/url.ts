/** `<base>/v1/<path>`, whatever the base is mounted at. */
function endpoint(base: string | URL, path: string): URL {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/${path}`;
  url.search = "";
  url.hash = "";
  return url;
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
