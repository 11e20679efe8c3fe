import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Exchange } from "./exchange.ts";

type Page = (exchange: Exchange) => void;

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
};

/** Nothing from anywhere else, nothing inline, in nobody's frame. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/**
 * The pages by path, read once; none if they were not built. The built command has them beside it in
 * `dist/web`, the source two folders up.
 */
export function loadPlayground(): Record<string, { GET: Page; HEAD: Page }> {
  const folder = ["../web", "../../dist/web"]
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(join(path, "index.html")));
  const pages: Record<string, { GET: Page; HEAD: Page }> = {};
  if (folder === undefined) return pages;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const type = TYPES[extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const file = join(entry.parentPath, entry.name);
    const path = file.slice(folder.length).replaceAll("\\", "/");
    const page = pageOf(readFileSync(file), type);
    pages[path === "/index.html" ? "/" : path] = { GET: page, HEAD: page };
  }
  return pages;
}

function pageOf(body: Buffer, type: string): Page {
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  const headers = {
    "Content-Type": type,
    // Asked for again each time, so that a new version is seen at once; the ETag makes that cheap.
    "Cache-Control": "no-cache",
    ETag: etag,
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
  };
  return ({ request, response }) => {
    if (request.headers["if-none-match"] === etag) {
      response.writeHead(304, headers).end();
      return;
    }
    response.writeHead(200, { ...headers, "Content-Length": String(body.length) });
    response.end(request.method === "HEAD" ? undefined : body);
  };
}
