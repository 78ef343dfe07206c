// What Grafana's core sets up before it draws a dashboard: its theme, its services, and one data source,
// the Prometheus behind drawing.py.

import {
  createTheme,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  EventBusSrv,
  type GrafanaTheme2,
  identityOverrideProcessor,
  LoadingState,
  numberOverrideProcessor,
  setWeekStart,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  ThresholdsMode,
  thresholdsOverrideProcessor,
  toDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { PrometheusDatasource } from '@grafana/prometheus';
import {
  config,
  setAppEvents,
  setBackendSrv,
  setDataSourceSrv,
  setEchoSrv,
  setPluginImportUtils,
  setRunRequest,
  setTemplateSrv,
} from '@grafana/runtime';
import { sceneGraph } from '@grafana/scenes';
import { catchError, defer, from, map, type Observable, of } from 'rxjs';

/** What queries failed with. */
export const failures: string[] = [];

export async function setUp(mode: 'dark' | 'light', scrapeInterval: string): Promise<GrafanaTheme2> {
  const theme = createTheme({ colors: { mode } });
  config.theme2 = theme;
  (config as any).theme = theme.v1;
  config.bootData.user.lightTheme = mode === 'light';
  document.body.className = `theme-${mode}`;

  // Grafana's texts must be loaded before anything of it is drawn.
  await initPluginTranslations('en-US');
  setWeekStart('monday');
  setAppEvents(new EventBusSrv());
  setEchoSrv({ addBackend() {}, addEvent() {}, flush() {} } as any);
  setBackendSrv(backend as any);
  setRunRequest(runRequest as any);
  setTemplateSrv({
    containsTemplate: (text: string) => (text ?? '').includes('$'),
    getVariables: () => [],
    replace: (text: string, variables: any, format: any) => {
      const scene = variables?.__sceneObject?.value.valueOf();
      return scene ? sceneGraph.interpolate(scene, text, variables, format) : text;
    },
    updateTimeRange() {},
  } as any);
  setPluginImportUtils({
    getPanelPluginFromCache: () => undefined,
    importPanelPlugin: async (id: string) => {
      throw new Error(`panels of type ${id} are not drawn here`);
    },
  } as any);
  registerFieldSettings();
  registerTransformations();
  registerDataSource(scrapeInterval);
  return theme;
}

function registerDataSource(timeInterval: string) {
  const settings: any = {
    access: 'proxy',
    id: 1,
    isDefault: true,
    jsonData: { httpMethod: 'POST', timeInterval },
    meta: {
      baseUrl: '',
      id: 'prometheus',
      info: { author: {}, description: '', links: [], logos: { large: '', small: '' }, screenshots: [], updated: '', version: '' },
      metrics: true,
      module: '',
      name: 'Prometheus',
      type: 'datasource',
    },
    name: 'Prometheus',
    readOnly: false,
    type: 'prometheus',
    uid: 'prometheus',
    url: '/api/datasources/proxy/uid/prometheus',
  };
  config.datasources = { Prometheus: settings };
  config.defaultDatasource = 'Prometheus';
  const source = new PrometheusDatasource(settings);
  Object.assign(source, { meta: settings.meta, name: settings.name });
  setDataSourceSrv({
    get: async () => source,
    getInstanceSettings: () => settings,
    getList: (filters: any = {}) => (['prometheus', undefined].includes(filters.type) ? [settings] : []),
    registerRuntimeDataSource() {},
    reload: async () => {},
  } as any);
}

// --- Requests ---

async function send({ data, headers = {}, method = 'GET', params = {}, url }: any) {
  const address = new URL(url, location.origin);
  const all = (given: object): [string, string][] =>
    Object.entries(given).flatMap(([name, value]) => [value].flat().map((one): [string, string] => [name, String(one)]));
  all(params).forEach(([name, value]) => address.searchParams.append(name, value));
  const init: RequestInit = { headers: { ...headers }, method };
  if (data !== undefined && method !== 'GET') {
    const form = String(headers['Content-Type']).includes('urlencoded');
    init.body = form ? new URLSearchParams(all(data)) : JSON.stringify(data);
    if (!form) {
      init.headers = { ...headers, 'Content-Type': 'application/json' };
    }
  }
  const answer = await fetch(address, init);
  const result = {
    config: { data, headers, method, params, url },
    data: await answer.json(),
    headers: answer.headers,
    ok: answer.ok,
    redirected: answer.redirected,
    status: answer.status,
    statusText: answer.statusText,
    type: answer.type,
    url: answer.url,
  };
  if (!result.ok) {
    throw result;
  }
  return result;
}

const backend = {
  datasourceRequest: send,
  delete: async () => ({}),
  fetch: (request: any) => from(send(request)),
  get: async (url: string, params: any) => (await send({ params, url })).data,
  patch: async () => ({}),
  post: async (url: string, data: any) => (await send({ data, method: 'POST', url })).data,
  put: async () => ({}),
  request: async (request: any) => (await send(request)).data,
  resolveCancelerIfExists() {},
};

/** A panel's or a variable's queries, once: nothing streams and nothing is cancelled here. */
function runRequest(source: any, request: any, query?: any): Observable<any> {
  const common = { annotations: [], request, timeRange: request.range };
  const fail = (error: any) => {
    const message = error?.data?.message ?? error?.message ?? JSON.stringify(error);
    failures.push(`panel ${request.panelId}: ${message}`);
    return { message };
  };
  const answer: Observable<any> = defer(() => {
    if (!request.targets.length) {
      return of({ data: [] });
    }
    return from(query ? query(request) : source.query(request)) as Observable<any>;
  });
  return answer.pipe(
    map(({ data = [], error, errors }: any) => {
      const failed = error ?? errors?.[0];
      const series = data.map((one: any) => (one.fields || query ? one : toDataFrame(one)));
      return failed
        ? { ...common, error: fail(failed), errors, series, state: LoadingState.Error }
        : { ...common, series, state: LoadingState.Done };
    }),
    catchError((error) => of({ ...common, error: fail(error), series: [], state: LoadingState.Error })),
  );
}

// --- Registries ---

/** Nobody edits here. */
const NoEditor = () => null;

function registerTransformations() {
  const unique = new Map(Object.values(standardTransformers).map((one: any) => [one.id, one]));
  const items = [...unique.values()].map((one: any) => ({
    description: one.description,
    editor: NoEditor,
    id: one.id,
    imageDark: '',
    imageLight: '',
    name: one.name,
    transformation: async () => one,
  }));
  standardTransformersRegistry.setInit(() => items as any);
}

/** The settings that every field has, and Grafana's own defaults of them. */
function registerFieldSettings() {
  const setting = (id: string, process: any, more: object = {}) => ({
    category: ['Standard options'],
    editor: NoEditor,
    id,
    name: id,
    override: NoEditor,
    path: id,
    process,
    settings: {},
    shouldApply: () => true,
    ...more,
  });
  const settings = [
    setting('actions', identityOverrideProcessor),
    setting('color', identityOverrideProcessor, { settings: { byValueSupport: true, preferThresholdsMode: true } }),
    setting('decimals', numberOverrideProcessor, { settings: { integer: true, max: 15, min: 0 } }),
    setting('description', stringOverrideProcessor),
    setting('displayName', displayNameOverrideProcessor, { settings: { expandTemplateVars: true } }),
    setting('fieldMinMax', identityOverrideProcessor),
    setting('filterable', identityOverrideProcessor),
    setting('links', dataLinksOverrideProcessor),
    setting('mappings', valueMappingsOverrideProcessor, { defaultValue: [], shouldApply: (field: any) => field.type !== 'time' }),
    setting('max', numberOverrideProcessor),
    setting('min', numberOverrideProcessor),
    setting('noValue', displayNameOverrideProcessor),
    setting('thresholds', thresholdsOverrideProcessor, {
      defaultValue: {
        mode: ThresholdsMode.Absolute,
        steps: [
          { color: 'green', value: -Infinity },
          { color: 'red', value: 80 },
        ],
      },
    }),
    setting('unit', unitOverrideProcessor),
  ];
  standardFieldConfigEditorRegistry.setInit(() => settings as any);
  const editors = ['boolean', 'color', 'dashboard-uid', 'field-name', 'field-name-picker', 'fieldColor', 'links', 'mappings', 'multi-select'];
  editors.push('number', 'radio', 'select', 'slider', 'stats-picker', 'strings', 'text', 'thresholds', 'timezone', 'unit');
  standardEditorsRegistry.setInit(() => editors.map((id) => ({ editor: NoEditor as any, id, name: id })));
}
