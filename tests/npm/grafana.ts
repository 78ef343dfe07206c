// What a dashboard of this project may be: Grafana's own types, as they are in JSON, with the parts that
// Grafana leaves open (which options go with which panel, what a query is) filled in.

import type * as grafana from '@grafana/schema';
import type * as barGauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** A type as it is in JSON, where an enum is one of its texts. */
type Json<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends readonly (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

/** The data source that the variable names, and no other. */
interface DataSource {
  type: 'prometheus';
  uid: '${datasource}';
}

/** Not in @grafana/schema: the query of the Prometheus data source. */
interface Target extends Json<Omit<grafana.DataQuery, 'datasource'>> {
  datasource: DataSource;
  editorMode: 'code';
  expr: string;
  format: 'time_series' | 'table';
  instant: boolean;
  legendFormat?: string;
  range: boolean;
}

/** Not in @grafana/schema: the query of a variable, by what it asks for (label_values, query_result). */
interface VariableQuery {
  qryType: 1 | 3;
  query: string;
  refId: 'PrometheusVariableQueryEditor-VariableQuery';
}

interface Variable extends Json<Omit<grafana.VariableModel, 'datasource' | 'query'>> {
  datasource?: DataSource;
  description: string;
  label: string;
  query: string | VariableQuery;
}

/** Not in @grafana/schema: the ids of the units that are used here. */
type Unit =
  | 'bytes'
  | 'none'
  | 'percentunit'
  | 's'
  | 'string'
  | 'suffix: min ago'
  | 'suffix:/h'
  | 'suffix:d'
  | 'suffix:h'
  | 'suffix: accounts'
  | 'time:YYYY-MM-DD';

/** Not in @grafana/schema: what a click on a value opens. */
interface Link {
  targetBlank: boolean;
  title: string;
  url: string;
}

type Field = Json<Omit<grafana.FieldConfig, 'custom' | 'links' | 'unit'>> & { links?: Link[]; unit?: Unit };

/** What an override may set: a field's settings, and those that only this kind of panel has. */
type Override<Custom> = {
  matcher: { id: 'byFrameRefID' | 'byName'; options: string };
  properties: (
    | { [Key in keyof Required<Field>]: { id: Key; value: Required<Field>[Key] } }[keyof Field]
    | {
        [Key in keyof Required<Custom> & string]: {
          id: `custom.${Key}`;
          value: Json<Required<Custom>[Key]>;
        };
      }[keyof Custom & string]
    | (Custom extends table.FieldConfig ? { id: 'custom.hideFrom.viz'; value: boolean } : never)
  )[];
};

/** Not in @grafana/schema: the options of the transformations that are used here. */
type Transformation =
  | {
      id: 'filterByValue';
      options: {
        filters: { config: { id: 'isNotNull'; options: Record<string, never> }; fieldName: string }[];
        match: 'all';
        type: 'include';
      };
    }
  | {
      filter: { id: 'byRefId'; options: string };
      id: 'groupingToMatrix';
      options: { columnField: string; emptyValue: 'null'; rowField: string; valueField: string };
    }
  | { id: 'joinByField'; options: { byField: string; mode: 'outer' } }
  | { id: 'merge'; options: Record<string, never> }
  | {
      id: 'organize';
      options: {
        excludeByName: Record<string, boolean>;
        includeByName: Record<string, boolean>;
        indexByName: Record<string, number>;
        renameByName: Record<string, string>;
      };
    }
  | { id: 'sortBy'; options: { fields: Record<string, never>; sort: { desc: boolean; field: string }[] } };

type OpenParts = 'datasource' | 'fieldConfig' | 'options' | 'targets' | 'transformations' | 'type';

type Panel<Type extends string, Options, Custom> = Json<Omit<grafana.Panel, OpenParts>> & {
  datasource: DataSource;
  description: string;
  fieldConfig: {
    defaults: Field & { custom?: Json<Custom>; unit: Unit };
    overrides: Override<Custom>[];
  };
  gridPos: grafana.GridPos;
  id: number;
  options: Json<Options>;
  targets: Target[];
  title: string;
  transformations?: Transformation[];
  type: Type;
};

type Row = Json<Omit<grafana.RowPanel, 'panels'>> & { panels: [] };

type AnyPanel =
  | Row
  | Panel<'bargauge', barGauge.Options, Record<never, never>>
  | Panel<'stat', stat.Options, Record<never, never>>
  | Panel<'table', table.Options, table.FieldConfig>
  | Panel<'timeseries', timeSeries.Options, timeSeries.FieldConfig>;

export type Dashboard = Json<Omit<grafana.Dashboard, 'panels' | 'templating'>> & {
  description: string;
  panels: AnyPanel[];
  templating: { list: Variable[] };
  title: string;
  uid: string;
};
