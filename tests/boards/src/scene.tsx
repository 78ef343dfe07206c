// Makes a scene, Grafana's model of a shown dashboard, of a dashboard's JSON.

import {
  behaviors,
  ConstantVariable,
  CustomVariable,
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneControlsSpacer,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  sceneGraph,
  SceneObjectBase,
  SceneQueryRunner,
  SceneRefreshPicker,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  VizPanel,
} from '@grafana/scenes';
import { Dropdown, Icon, LinkButton, Menu, PanelChrome, Tooltip } from '@grafana/ui';

const ICONS: Record<string, any> = { dashboard: 'apps', doc: 'file-alt', 'external link': 'external-link-alt' };

/** The links beside a panel's title: one is an icon, several are a menu. */
class PanelLinks extends SceneObjectBase<any> {
  static Component = ({ model }: any) => {
    const links = model.state.links.map((link: any) => ({ ...link, href: sceneGraph.interpolate(model, link.url) }));
    const icon = <Icon name="external-link-alt" size="md" />;
    if (links.length === 1) {
      const [{ href, targetBlank, title }] = links;
      return (
        <Tooltip content={title}>
          <PanelChrome.TitleItem href={href} target={targetBlank ? '_blank' : undefined}>
            {icon}
          </PanelChrome.TitleItem>
        </Tooltip>
      );
    }
    const items = links.map(({ href, title }: any) => <Menu.Item key={title} label={title} url={href} />);
    return (
      <Dropdown overlay={<Menu>{items}</Menu>}>
        <PanelChrome.TitleItem onClick={() => {}}>{icon}</PanelChrome.TitleItem>
      </Dropdown>
    );
  };
}

/** The links above the panels. */
class DashboardLinks extends SceneObjectBase<any> {
  static Component = ({ model }: any) =>
    model.state.links.map((link: any) => (
      <LinkButton
        fill="outline"
        href={sceneGraph.interpolate(model, link.keepTime ? link.url + '&${__url_time_range}' : link.url)}
        icon={ICONS[link.icon]}
        key={link.title}
        size="md"
        tooltip={link.tooltip}
        variant="secondary"
      >
        {link.title}
      </LinkButton>
    ));
}

function variable(json: any) {
  const { allValue, current, datasource, description, hide, includeAll, label, multi, name, query, refresh, regex, skipUrlSync, sort } = json;
  const common = { description, hide, label, name, skipUrlSync, text: current?.text ?? '', value: current?.value ?? '' };
  switch (json.type) {
    case 'constant':
      return new ConstantVariable({ ...common, value: query } as any);
    case 'custom':
      return new CustomVariable({ ...common, includeAll, isMulti: multi, query });
    case 'datasource':
      return new DataSourceVariable({ ...common, pluginId: query, regex });
    case 'query':
      return new QueryVariable({ ...common, allValue, datasource, defaultToAll: includeAll, includeAll, isMulti: multi, query, refresh, regex, sort });
    default:
      throw new Error(`variables of type ${json.type} are not drawn here`);
  }
}

function panel(json: any) {
  const { datasource, description, fieldConfig, gridPos, id, links, maxDataPoints, options, targets, timeFrom, title, transformations, type } = json;
  const queries = new SceneQueryRunner({ dataLayerFilter: { panelId: id }, datasource, maxDataPoints, queries: targets });
  return new SceneGridItem({
    body: new VizPanel({
      $data: new SceneDataTransformer({ $data: queries, transformations: transformations ?? [] }),
      $timeRange: timeFrom ? new SceneTimeRange({ from: `now-${timeFrom}`, to: 'now' }) : undefined,
      description,
      fieldConfig,
      key: `panel-${id}`,
      options,
      pluginId: type,
      title,
      titleItems: links?.length ? [new PanelLinks({ links })] : undefined,
    }),
    height: gridPos.h,
    isDraggable: false,
    isResizable: false,
    key: `item-${id}`,
    width: gridPos.w,
    x: gridPos.x,
    y: gridPos.y,
  });
}

/** Panels, and rows with the panels below them. */
function layout(panels: any[]) {
  const children: any[] = [];
  let row: SceneGridRow | undefined;
  for (const json of panels) {
    if (json.type === 'row') {
      row = new SceneGridRow({ children: [], isCollapsed: json.collapsed, key: `row-${json.id}`, title: json.title, y: json.gridPos.y });
      children.push(row);
    } else if (row) {
      row.setState({ children: [...row.state.children, panel(json)] });
    } else {
      children.push(panel(json));
    }
  }
  return new SceneGridLayout({ children, isDraggable: false, isLazy: false, isResizable: false });
}

export function toScene(json: any, from?: string | null, to?: string | null) {
  return new EmbeddedScene({
    $behaviors: [new behaviors.CursorSync({ sync: json.graphTooltip })],
    $timeRange: new SceneTimeRange({ from: from ?? json.time.from, timeZone: json.timezone, to: to ?? json.time.to }),
    $variables: new SceneVariableSet({ variables: json.templating.list.map(variable) }),
    body: layout(json.panels),
    controls: [
      new VariableValueSelectors({}),
      new SceneControlsSpacer(),
      new DashboardLinks({ links: json.links }),
      new SceneTimePicker({}),
      new SceneRefreshPicker({ intervals: [json.refresh], refresh: json.refresh }),
    ],
  });
}
