// What examples/deploy/ has beside the proxies: that each file says what the program understands.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { EXIT } from "../../src/cli/exit.ts";
import { configSchema } from "../../src/gateway/config/schema.ts";
import { checkMachine } from "../../src/cli/doctor/machine-checks.ts";
import { readMachine } from "../../src/cli/doctor/machine.ts";
import { Findings } from "../../src/cli/doctor/finding.ts";
import type { Finding } from "../../src/cli/doctor/finding.ts";
import { describeWith, needs } from "../support/programs.ts";

const run = promisify(execFile);
const read = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`../../examples/deploy/${name}`, import.meta.url)), "utf8");
const DEFAULTS = configSchema.parse({});
/** Beside the drain: to start it, to leave, and for the last log lines. */
const ROOM_S = 5;

test.each(["nginx.conf", "haproxy.cfg", "sluice.service", "sysctl.conf"])(
  "docs/operations.md has %s as it stands",
  (name) => {
    const page = readFileSync(
      fileURLToPath(new URL("../../docs/operations.md", import.meta.url)),
      "utf8",
    );
    expect(page).toContain(`\n${read(name)}\`\`\``);
  },
);

describeWith({ analyze: needs("systemd-analyze") }, "the systemd unit", ({ analyze }) => {
  const unit = read("sluice.service");

  test("is one that systemd has nothing to say about", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-unit-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "sluice.service");
    // The command must be there; on this machine it is elsewhere.
    writeFileSync(path, unit.replace("/usr/bin/sluice", process.execPath));
    const { stdout, stderr } = await run(analyze, ["verify", path]);
    expect(stdout + stderr).toBe("");
  });

  test("gives the drain its time, and takes its exit codes for what they are", () => {
    const seconds = Number(/^TimeoutStopSec=([0-9]+)$/m.exec(unit)?.[1]);
    const { wait, deadline } = DEFAULTS.drain;
    expect(seconds).toBeGreaterThanOrEqual((wait + deadline) / 1_000 + ROOM_S);
    expect(unit).toContain(`\nSuccessExitStatus=${EXIT.forced}\n`);
    expect(unit).toContain(`\nRestartPreventExitStatus=${EXIT.usage} ${EXIT.config}\n`);
  });
});

interface ConfigMap {
  readonly data: Readonly<Record<string, string>>;
}

interface Deployment {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly [Container];
      };
    };
  };
}

interface Container {
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: string[] } } };
}

test("the Kubernetes manifests give the drain its time, and their configuration is one", () => {
  const documents = parseAllDocuments(read("kubernetes.yaml")).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as { readonly kind: string };
  });
  const of = (kind: string): unknown => documents.find((document) => document.kind === kind);
  const { data } = of("ConfigMap") as ConfigMap;
  const config = configSchema.parse(parse(data["sluice.config.yaml"] ?? ""));
  const { spec } = (of("Deployment") as Deployment).spec.template;
  const { terminationGracePeriodSeconds: grace, containers } = spec;
  const [{ ports, lifecycle }] = containers;
  const preStop = Number(lifecycle.preStop.exec.command[1]);
  const { wait, deadline } = config.drain;
  expect(grace).toBeGreaterThanOrEqual(preStop + (wait + deadline) / 1_000 + ROOM_S);
  expect(ports).toEqual([
    { name: "http", containerPort: config.port },
    { name: "admin", containerPort: config.adminPort },
  ]);
});

test("with the sysctls set, sluice doctor has nothing to find about the kernel", () => {
  const set = new Map(
    [...read("sysctl.conf").matchAll(/^(net\S+) = (.+)$/gm)].map(([, name = "", value = ""]) => [
      `/proc/sys/${name.replaceAll(".", "/")}`,
      value,
    ]),
  );
  const facts = readMachine((path) => set.get(path) ?? readFileSync(path, "utf8"), {
    nodeVersion: "26.10.0",
    descriptors: { max: 50_000, isAssumed: false },
  });
  const findings: Finding[] = [];
  checkMachine(facts, DEFAULTS, new Findings("machine", (finding) => findings.push(finding)));
  expect(findings.filter(({ status }) => status === "finding")).toEqual([]);
});
