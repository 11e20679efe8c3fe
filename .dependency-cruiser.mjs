// The layer rule of docs/architecture.md: imports point down only, folders of one layer never
// import each other, and there are no cycles, type-only imports included.

/** From the bottom up. What stands in one row is one layer. */
const layers = [
  ["internal"],
  ["wire"],
  ["core"],
  ["brokers", "transports", "upstreams", "exporters"],
  ["gateway"],
  ["cli"],
];

/** Beside the layers: what else in src/ each of these may import. */
const beside = {
  client: ["wire"],
  testing: ["internal", "wire", "core", "brokers"],
};

const inside = (folders) => `^src/(${folders.join("|")})/`;

const layerRules = layers.flatMap((layer, level) =>
  layer.map((folder) => {
    const may = [folder, ...layers.slice(0, level).flat()];
    if (folder === "cli") may.push("client");
    return {
      name: `layer-${folder}`,
      comment: `src/${folder} may import only ${may.map((name) => `src/${name}`).join(", ")}.`,
      severity: "error",
      from: { path: inside([folder]) },
      to: { path: "^(src|web|test|bench|examples|scripts)/", pathNot: inside(may) },
    };
  }),
);

const besideRules = Object.entries(beside).map(([folder, may]) => ({
  name: `beside-${folder}`,
  comment: `src/${folder} may import only ${[folder, ...may].map((name) => `src/${name}`).join(", ")}.`,
  severity: "error",
  from: { path: inside([folder]) },
  to: { path: "^(src|web|test|bench|examples|scripts)/", pathNot: inside([folder, ...may]) },
}));

export default {
  forbidden: [
    ...layerRules,
    ...besideRules,
    {
      name: "portable",
      comment: "wire/ and client/ run in browsers: no Node module and no package.",
      severity: "error",
      from: { path: inside(["wire", "client"]) },
      to: { dependencyTypesNot: ["local"] },
    },
    {
      name: "core-knows-no-io",
      comment: "core/ and internal/ know no sockets, files, processes or drivers.",
      severity: "error",
      from: { path: inside(["core", "internal"]) },
      to: {
        path: "^(node:)?(http|http2|https|net|tls|dgram|fs|child_process|cluster|worker_threads|os|process)(/|$)",
      },
    },
    {
      name: "core-knows-no-driver",
      comment: "core/ and internal/ import no package.",
      severity: "error",
      from: { path: inside(["core", "internal"]) },
      to: { dependencyTypes: ["npm", "npm-dev", "npm-optional", "npm-peer", "npm-no-pkg"] },
    },
    {
      name: "nothing-imports-the-command-line",
      severity: "error",
      from: { pathNot: "^(src/cli|test)/" },
      to: { path: "^src/cli/" },
    },
    {
      name: "shipped-code-has-runtime-dependencies-only",
      severity: "error",
      from: { path: "^src/" },
      to: {
        dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"],
        pathNot: "node_modules/@types/",
      },
    },
    {
      name: "web-stands-alone",
      comment: "The pages run in browsers: of src/ they may know the wire and the client only.",
      severity: "error",
      from: { path: "^web/" },
      to: { path: "^(src|test|bench|scripts)/", pathNot: inside(["wire", "client"]) },
    },
    {
      name: "no-cycle",
      severity: "error",
      from: { path: "^(src|web)/" },
      to: { circular: true },
    },
    {
      name: "resolvable",
      severity: "error",
      from: { path: "^(src|web)/" },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    // "true" keeps type-only imports, which tsc erases, in the graph.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|\\.cache)/" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".mjs", ".js", ".d.ts"],
    },
  },
};
