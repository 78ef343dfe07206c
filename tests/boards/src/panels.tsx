// Panels of the four types that the dashboards have. Grafana's own are in none of its packages, but the
// parts that draw are: these only pass options on to them, with the defaults that Grafana's own have.

import {
  applyNullInsertThreshold,
  cacheFieldDisplayNames,
  FieldColorModeId,
  FieldConfigProperty,
  FieldType,
  getDisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  identityOverrideProcessor,
  nullToValue,
  PanelPlugin,
  type PanelProps,
} from '@grafana/data';
import { config } from '@grafana/runtime';
import { registerRuntimePanelPlugin } from '@grafana/scenes';
import { BarGauge, BigValue, DataLinksContextMenu, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { type ReactElement, useMemo } from 'react';

const Centred = ({ children }: any) => (
  <div style={{ alignItems: 'center', display: 'flex', height: '100%', justifyContent: 'center' }}>{children}</div>
);

const NoData = ({ fieldConfig }: any) => <Centred>{fieldConfig.defaults.noValue ?? 'No data'}</Centred>;

/** A value that leads somewhere opens its links when clicked. */
function withLinks(value: any, draw: (menu: any) => ReactElement) {
  if (!value.hasLinks || !value.getLinks) {
    return draw({});
  }
  return <DataLinksContextMenu links={value.getLinks}>{draw}</DataLinksContextMenu>;
}

function values({ data, fieldConfig, options, replaceVariables, timeZone }: PanelProps<any>) {
  return getFieldDisplayValues({
    data: data.series,
    fieldConfig,
    reduceOptions: options.reduceOptions,
    replaceVariables,
    theme: config.theme2,
    timeZone,
  });
}

function Stat(props: PanelProps<any>) {
  const { data, height, options, renderCounter, width } = props;
  return (
    <VizRepeater
      autoGrid
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      getValues={() => values(props)}
      height={height}
      itemSpacing={3}
      orientation={options.orientation}
      renderCounter={renderCounter}
      renderValue={({ alignmentFactors, count, height, value, width }: any) =>
        withLinks(value, ({ openMenu, targetClassName }) => (
          <BigValue
            alignmentFactors={alignmentFactors}
            className={targetClassName}
            colorMode={options.colorMode}
            count={count}
            disableWideLayout={!options.wideLayout}
            graphMode={options.graphMode}
            height={height}
            justifyMode={options.justifyMode}
            onClick={openMenu}
            text={options.text}
            textMode={options.textMode}
            theme={config.theme2}
            value={value.display}
            width={width}
          />
        ))
      }
      source={data}
      width={width}
    />
  );
}

function Bars(props: PanelProps<any>) {
  const { data, fieldConfig, height, options, renderCounter, width } = props;
  const manual = options.sizing === 'manual';
  return (
    <VizRepeater
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      getValues={() => values(props)}
      height={height}
      itemSpacing={8}
      maxVizHeight={manual ? options.maxVizHeight : 300}
      minVizHeight={manual ? options.minVizHeight : 16}
      minVizWidth={manual ? options.minVizWidth : 8}
      orientation={options.orientation}
      renderCounter={renderCounter}
      renderValue={({ alignmentFactors, count, height, isOverflow, orientation, value, width }: any) => {
        // Grafana leaves out the name of a bar that is alone, unless it was given one.
        const nameless = count === 1 && !fieldConfig.defaults.displayName;
        return withLinks(value, ({ openMenu, targetClassName }) => (
          <BarGauge
            alignmentFactors={count > 1 ? alignmentFactors : undefined}
            className={targetClassName}
            display={value.view?.getFieldDisplayProcessor(value.colIndex)}
            displayMode={options.displayMode}
            field={value.field}
            height={height}
            isOverflow={isOverflow}
            itemSpacing={8}
            namePlacement={options.namePlacement}
            onClick={openMenu}
            orientation={orientation}
            showUnfilled={options.showUnfilled}
            text={options.text}
            theme={config.theme2}
            value={nameless ? { ...value.display, title: undefined } : value.display}
            valueDisplayMode={options.valueMode}
            width={width}
          />
        ));
      }}
      source={data}
      width={width}
    />
  );
}

/** Series as lines need them: gaps where samples are missing, numbers only, each with its colour. */
function lines(series: any[], { from, to }: any) {
  cacheFieldDisplayNames(series);
  let seriesIndex = 0;
  return series.flatMap((frame) => {
    const gaps = nullToValue(applyNullInsertThreshold({ frame, refFieldPseudoMax: to.valueOf(), refFieldPseudoMin: from.valueOf() }));
    const [time, ...numbers] = gaps.fields.filter(({ type }: any) => [FieldType.time, FieldType.number].includes(type));
    if (time?.type !== FieldType.time || !numbers.length) {
      return [];
    }
    const fields = numbers.map((field: any) => {
      const drawn = { ...field, state: { ...field.state, seriesIndex: seriesIndex++ } };
      drawn.values = field.values.map((value: any) => (Number.isFinite(value) ? value : null));
      drawn.display = getDisplayProcessor({ field: drawn, theme: config.theme2 });
      return drawn;
    });
    return [{ ...frame, fields: [time, ...fields], length: gaps.length }];
  });
}

function Graph({ data, fieldConfig, height, options, replaceVariables, timeRange, timeZone, width }: PanelProps<any>) {
  const frames = useMemo(() => lines(data.series, timeRange), [data.series, timeRange]);
  if (!frames.length) {
    return <NoData fieldConfig={fieldConfig} />;
  }
  return (
    <TimeSeries
      frames={frames}
      height={height}
      legend={options.legend}
      options={options}
      replaceVariables={replaceVariables}
      structureRev={data.structureRev}
      timeRange={timeRange}
      timeZone={timeZone as any}
      width={width}
    />
  );
}

function Table({ data, fieldConfig, height, options, timeRange, transparent, width }: PanelProps<any>) {
  const [frame] = data.series;
  useMemo(() => cacheFieldDisplayNames(data.series), [data.series]);
  if (!frame?.fields.length) {
    return <NoData fieldConfig={fieldConfig} />;
  }
  return (
    <TableNG
      cellHeight={options.cellHeight}
      data={frame}
      enablePagination={options.enablePagination}
      fieldConfig={fieldConfig}
      frozenColumns={options.frozenColumns?.left}
      height={height}
      noHeader={!options.showHeader}
      noValue={fieldConfig.defaults.noValue}
      onColumnResize={() => {}}
      onSortByChange={() => {}}
      resizable
      sortBy={options.sortBy}
      structureRev={data.structureRev}
      timeRange={timeRange}
      transparent={transparent}
      width={width}
    />
  );
}

const NoEditor = () => null;

/** The settings of fields that only this type of panel has, with their defaults. */
const own = (defaults: Record<string, unknown>) => (builder: any) => {
  for (const [path, defaultValue] of Object.entries(defaults)) {
    builder.addCustomEditor({
      defaultValue,
      editor: NoEditor,
      id: path,
      name: path,
      override: NoEditor,
      path,
      process: identityOverrideProcessor,
      shouldApply: () => true,
    });
  }
};

export function registerPanels() {
  const register = (pluginId: string, plugin: any) => registerRuntimePanelPlugin({ plugin, pluginId });
  register('stat', new PanelPlugin(Stat).useFieldConfig());
  register('bargauge', new PanelPlugin(Bars).useFieldConfig());
  register(
    'timeseries',
    new PanelPlugin(Graph).useFieldConfig({
      standardOptions: {
        [FieldConfigProperty.Color]: {
          defaultValue: { mode: FieldColorModeId.PaletteClassic },
          settings: { bySeriesSupport: true, byValueSupport: true, preferThresholdsMode: false },
        },
      } as any,
      useCustomConfig: own({
        axisBorderShow: false,
        axisCenteredZero: false,
        axisColorMode: 'text',
        axisGridShow: true,
        axisLabel: '',
        axisPlacement: 'auto',
        axisSoftMax: undefined,
        axisSoftMin: undefined,
        barAlignment: 0,
        barWidthFactor: 0.6,
        drawStyle: 'line',
        fillOpacity: 0,
        gradientMode: 'none',
        hideFrom: { legend: false, tooltip: false, viz: false },
        insertNulls: false,
        lineInterpolation: 'linear',
        lineStyle: undefined,
        lineWidth: 1,
        pointSize: 5,
        scaleDistribution: { type: 'linear' },
        showPoints: 'auto',
        spanNulls: false,
        stacking: { group: 'A', mode: 'none' },
        thresholdsStyle: { mode: 'off' },
      }),
    }),
  );
  register(
    'table',
    new PanelPlugin(Table).useFieldConfig({
      useCustomConfig: own({
        align: 'auto',
        cellOptions: { type: 'auto' },
        filterable: false,
        'footer.reducers': [],
        'hideFrom.viz': undefined,
        inspect: false,
        minWidth: undefined,
        width: undefined,
        wrapHeaderText: undefined,
        wrapText: undefined,
      }),
    }),
  );
}
