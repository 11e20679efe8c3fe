import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { root } from "../../scripts/support/run.ts";
import { ensureBuilt } from "../support/built.ts";

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
  readonly dev?: boolean;
  readonly optional?: boolean;
}

const read = (file: string): unknown => JSON.parse(readFileSync(`${root}${file}`, "utf8"));
const { packages } = read("package-lock.json") as { packages: Record<string, Locked> };
const manifest = read("package.json") as Record<string, Record<string, string> | undefined>;

/** What a user of the package installs. */
const shipped = Object.entries(packages).filter(([path, { dev }]) => path !== "" && dev !== true);

test("S30 no dependency runs a script when Sluice is installed", () => {
  expect(shipped.length).toBeGreaterThan(10);
  expect(shipped.filter(([, { hasInstallScript }]) => hasInstallScript)).toEqual([]);
  expect(
    ["preinstall", "install", "postinstall"].filter((name) => manifest["scripts"]?.[name]),
  ).toEqual([]);
});

test("S30 every package is locked by its hash, and every version is exact", () => {
  const locked = Object.entries(packages).filter(([path]) => path !== "");
  expect(locked.filter(([, { integrity }]) => !integrity?.startsWith("sha512-"))).toEqual([]);
  const ranges = { ...manifest["dependencies"], ...manifest["devDependencies"] };
  const exact = /^(npm:(@[a-z-]+\/)?[a-z0-9-]+@)?\d+\.\d+\.\d+$/;
  expect(Object.entries(ranges).filter(([, range]) => !exact.test(range))).toEqual([]);
});

test("S30 the dependencies are few, and each was chosen", () => {
  expect(Object.keys(manifest["dependencies"] ?? {}).sort()).toEqual([
    "@prometheus-io/client",
    "commander",
    "find-my-way",
    "jsonc-parser",
    "pino",
    "pino-pretty",
    "yaml",
    "zod",
  ]);
  expect(shipped.length).toBeLessThan(60);
});

test("S30 the bill of materials lists all that is shipped", async () => {
  const npm = spawn("npm", ["run", "--silent", "sbom"], { cwd: root });
  let output = "";
  npm.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(npm, "close")) as [number];
  expect(code).toBe(0);
  const { components } = JSON.parse(output) as { components: { purl: string }[] };
  const listed = new Set(components.map(({ purl }) => decodeURIComponent(purl.slice(8))));
  const expected = shipped
    .filter(([, { optional }]) => optional !== true)
    .map(([path, { version }]) => `${path.replace(/^.*node_modules\//, "")}@${version}`);
  expect(expected.filter((name) => !listed.has(name))).toEqual([]);
});

test("S26 the gateway runs where __proto__ throws", async () => {
  await ensureBuilt();
  const ports = ["--port", "0", "--admin-port", "0"];
  const main = `${root}dist/cli/main.js`;
  const child = spawn(process.execPath, ["--disable-proto=throw", main, "serve", ...ports]);
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const { url } = JSON.parse(line.toString().split("\n")[0] ?? "") as { url: string };
  const body = '{"__proto__": {"polluted": true}}';
  const headers = { "Content-Type": "application/json" };
  const published = await fetch(`${url}/v1/topics/a`, { method: "POST", headers, body });
  expect(published.status).toBe(201);
  const declared = await fetch(`${url}/v1/topics/a`, { method: "PUT", headers, body });
  expect(await declared.json()).toMatchObject({ code: "settings_invalid" });
});
