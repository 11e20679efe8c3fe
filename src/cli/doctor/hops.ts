import type { IncomingHttpHeaders } from "node:http";

/** What stands in the way, as far as its answers tell. HAProxy tells nothing. */
export type Hop = "nginx" | "caddy" | "envoy" | "alb" | "gcp" | "cloudflare" | "varnish";

/** What is wrong with a hop, by the check that saw it. */
export type Ailment =
  | "buffering"
  | "compression"
  | "delay"
  | "idle"
  | "total"
  | "host"
  | "gone"
  | "body";

const SIGNS: readonly (readonly [Hop, keyof IncomingHttpHeaders, RegExp])[] = [
  ["nginx", "server", /nginx|openresty/i],
  ["caddy", "server", /caddy/i],
  ["caddy", "via", /caddy/i],
  ["envoy", "server", /envoy/i],
  ["alb", "server", /awselb/i],
  ["gcp", "via", /google/i],
  ["cloudflare", "server", /cloudflare/i],
  ["varnish", "via", /varnish/i],
];

export function hopsOf(headers: IncomingHttpHeaders): readonly Hop[] {
  const found = SIGNS.filter(([, name, sign]) => sign.test(String(headers[name] ?? "")));
  return [...new Set(found.map(([hop]) => hop))];
}

/**
 * What to set, by what stands there. The lines of nginx and HAProxy were tried; the others are as those
 * products document them.
 */
const DIRECTIVES: Readonly<Record<Ailment, Readonly<Record<string, string>>>> = {
  buffering: {
    nginx: "proxy_buffering off;",
    HAProxy: "no option http-buffer-request; no http-response wait-for-body",
    varnish: "return (pipe)",
    envoy: "no buffer filter on this route",
  },
  compression: {
    nginx: "gzip off;",
    HAProxy: "no compression type text/event-stream",
    caddy: "no encode for text/event-stream",
    cloudflare: "a compression rule that leaves text/event-stream out",
  },
  delay: { HAProxy: "option http-no-delay", nginx: "tcp_nodelay on;" },
  idle: {
    nginx: "proxy_read_timeout 1h;",
    HAProxy: "timeout client 75s and timeout server 75s",
    alb: "idle_timeout.timeout_seconds above the heartbeat",
    envoy: "stream_idle_timeout: 0s",
  },
  total: {
    gcp: "timeoutSec of the backend service above the gateway's maximum age",
    envoy: "timeout: 0s on the route",
    varnish: "return (pipe)",
  },
  host: {
    nginx: "proxy_set_header Host 127.0.0.1;",
    HAProxy: "http-request set-header Host 127.0.0.1",
    caddy: "header_up Host 127.0.0.1",
  },
  gone: {
    HAProxy: "option abortonclose",
    nginx: "proxy_ignore_client_abort off;",
    caddy: "no flush_interval -1",
  },
  body: { nginx: "client_max_body_size 8m;", cloudflare: "a larger maximum upload size" },
};

/** `nginx: proxy_buffering off;`, for what is known to stand there, else for all that it may be. */
export function directives(ailment: Ailment, hops: readonly Hop[]): readonly string[] {
  const all = Object.entries(DIRECTIVES[ailment]);
  const known = all.filter(([hop]) => hops.includes(hop as Hop));
  return (known.length > 0 ? known : all).map(([hop, directive]) => `${hop}: ${directive}`);
}
