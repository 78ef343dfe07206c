// The dashboards are of Grafana's own types. To import the JSON files would not do: their texts would all
// be `string`, and unknown fields would be let through. So each becomes a literal in a program, which is
// held against the types and is only in memory.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const { defaultDashboard } = createRequire(import.meta.url)('@grafana/schema');

const HERE = dirname(fileURLToPath(import.meta.url));
const FOLDER = join(HERE, '../../dashboards');
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
const PROGRAM = join(HERE, 'dashboard.ts');
const OPTIONS = {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
  target: ts.ScriptTarget.ES2022,
  types: [],
};

const read = (name) => JSON.parse(readFileSync(join(FOLDER, name), 'utf8'));

// The files of Grafana and of the language are parsed once for all programs.
const host = ts.createCompilerHost(OPTIONS);
const parse = host.getSourceFile.bind(host);
const parsed = new Map();

/** What TypeScript says against a dashboard. */
function complaints(dashboard) {
  const literal = JSON.stringify(dashboard, null, 2);
  const program = `import type { Dashboard } from './grafana';\nexport default ${literal} satisfies Dashboard;\n`;
  host.fileExists = (file) => file === PROGRAM || ts.sys.fileExists(file);
  host.getSourceFile = (file, ...rest) => {
    if (file === PROGRAM) {
      return ts.createSourceFile(file, program, ts.ScriptTarget.ES2022);
    }
    if (!parsed.has(file)) {
      parsed.set(file, parse(file, ...rest));
    }
    return parsed.get(file);
  };
  const found = ts.getPreEmitDiagnostics(ts.createProgram([PROGRAM], OPTIONS, host));
  return found.map((one) => {
    const where = one.file && one.file.getLineAndCharacterOfPosition(one.start).line;
    const line = one.file && one.file.text.split('\n')[where].trim();
    return `${line}: ${ts.flattenDiagnosticMessageText(one.messageText, '\n')}`;
  });
}

test('there are dashboards', () => {
  assert.deepEqual(FILES.sort(), ['account.json', 'cis.json', 'fleet.json']);
});

for (const name of FILES) {
  test(`${name} is of Grafana's types`, () => {
    assert.deepEqual(complaints(read(name)), []);
  });

  test(`${name} has Grafana's current version of the schema`, () => {
    assert.equal(read(name).schemaVersion, defaultDashboard.schemaVersion);
  });
}

// What is right and is broken here must be refused for what was broken.

const panel = (dashboard, type) => dashboard.panels.find((one) => one.type === type);
const override = (dashboard, id) =>
  dashboard.panels
    .flatMap((one) => one.fieldConfig?.overrides ?? [])
    .flatMap((one) => one.properties)
    .find((one) => one.id === id);

// Each with a word of the complaint.
const MISTAKES = {
  'a field that no dashboard has': [(d) => (d.autoRefresh = '5m'), 'autoRefresh'],
  'a field that no panel has': [(d) => (panel(d, 'stat').tittle = 'Keys'), 'tittle'],
  'a panel of an unknown type': [(d) => (panel(d, 'stat').type = 'statt'), 'statt'],
  'a panel without a description': [(d) => delete panel(d, 'stat').description, 'description'],
  'a panel without a unit': [(d) => delete panel(d, 'stat').fieldConfig.defaults.unit, 'unit'],
  'a place without a width': [(d) => delete panel(d, 'stat').gridPos.w, "'w'"],
  'an unknown value of an option': [(d) => (panel(d, 'stat').options.colorMode = 'colour'), 'colour'],
  'an option of another panel': [(d) => (panel(d, 'stat').options.showHeader = true), 'showHeader'],
  'a missing option': [(d) => delete panel(d, 'bargauge').options.displayMode, 'displayMode'],
  'an unknown option inside another': [(d) => (panel(d, 'timeseries').options.legend.display = 'list'), 'display'],
  'an unknown way to draw': [(d) => (panel(d, 'timeseries').fieldConfig.defaults.custom.drawStyle = 'lines'), 'lines'],
  'a misspelt setting of lines': [
    (d) => (panel(d, 'timeseries').fieldConfig.defaults.custom.linewidth = 1),
    'linewidth',
  ],
  'an unknown unit': [(d) => (panel(d, 'stat').fieldConfig.defaults.unit = 'keys'), 'keys'],
  'an unknown colour mode': [(d) => (panel(d, 'stat').fieldConfig.defaults.color.mode = 'threshold'), 'threshold'],
  'a threshold without a value': [
    (d) => delete panel(d, 'stat').fieldConfig.defaults.thresholds.steps[0].value,
    'value',
  ],
  'an override of an unknown setting': [(d) => (override(d, 'unit').id = 'units'), 'units'],
  'an override of a setting that tables do not have': [
    (d) => (override(d, 'custom.width').id = 'custom.drawStyle'),
    'custom.drawStyle',
  ],
  'an unknown kind of cell': [(d) => (override(d, 'custom.cellOptions').value.type = 'tinted'), 'tinted'],
  'a mapping of an unknown type': [(d) => (override(d, 'mappings').value[0].type = 'text'), '"text"'],
  'an unknown option of a transformation': [
    (d) => (panel(d, 'table').transformations.at(-1).options.hideByName = {}),
    'hideByName',
  ],
  'a hard-coded data source': [(d) => (panel(d, 'stat').targets[0].datasource.uid = 'PROM1'), 'PROM1'],
  'a query in another language': [(d) => (panel(d, 'stat').targets[0].rawSql = 'SELECT 1'), 'rawSql'],
  'a misspelt field of a variable': [(d) => (d.templating.list[1].includeall = true), 'includeall'],
  'a variable that is refreshed in an unknown way': [(d) => (d.templating.list[1].refresh = 3), 'VariableRefresh'],
  'a link of an unknown type': [(d) => (d.links[0].type = 'dashboard'), 'dashboard'],
};

for (const [mistake, [make, word]] of Object.entries(MISTAKES)) {
  test(`refuses ${mistake}`, () => {
    const dashboard = read('fleet.json');
    make(dashboard);
    const found = complaints(dashboard);
    assert.ok(found.length > 0, 'nothing was refused');
    assert.ok(found.join('\n').includes(word), found.join('\n'));
  });
}
