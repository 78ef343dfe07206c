// Draws the dashboard /d/NAME, such as /d/fleet. Parameters: theme=light, from, to, var-NAME as in Grafana,
// and scrape, the data source's scrape interval. `window.boards` says what was drawn.

import 'react-grid-layout/css/styles.css';
import 'uplot/dist/uPlot.min.css';

import { ThemeContext } from '@grafana/data';
import { locationService, LocationServiceProvider } from '@grafana/runtime';
import { sceneGraph, UrlSyncContextProvider, VizPanel } from '@grafana/scenes';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { BrowserRouter } from 'react-router-dom';
import { failures, setUp } from './core';
import { cuts, greens } from './looks';
import { registerPanels } from './panels';
import { toScene } from './scene';

/** As wide as Grafana's navigation, which stays open in windows as wide as these. */
const NAVIGATION = 300;
const FILES: Record<string, string> = { 'iam-cis': 'cis', 'iam-key-account': 'account', 'iam-key-fleet': 'fleet' };

const parameters = new URLSearchParams(location.search);
const [, , name] = location.pathname.split('/');
const theme = await setUp(parameters.get('theme') === 'light' ? 'light' : 'dark', parameters.get('scrape') ?? '1m');
registerPanels();
const json = await (await fetch(`/dashboards/${FILES[name] ?? name}.json`)).json();
const scene = toScene(json, parameters.get('from'), parameters.get('to'));

const panels = () => sceneGraph.findAllObjects(scene, (one) => one instanceof VizPanel) as VizPanel[];
const dataOf = (panel: VizPanel) => sceneGraph.getData(panel).state.data;

Object.assign(window, {
  boards: {
    /** Whether every panel has its data, or has failed. */
    isComplete: () => panels().length > 0 && panels().every((one) => ['Done', 'Error'].includes(dataOf(one)?.state ?? '')),
    /** Anything that failed. */
    failures: () => failures,
    /** How high the page is. */
    height: () => Math.ceil(document.querySelector('.react-grid-layout')!.getBoundingClientRect().bottom + scrollY + 32),
    /** What each panel shows. */
    panels: () =>
      panels().map((one) => {
        const element = document.querySelector(`[data-viz-panel-key="${one.state.key}"]`)!;
        return {
          cuts: cuts(element),
          greens: greens(element),
          rows: (dataOf(one)?.series ?? []).reduce((sum, frame) => sum + frame.length, 0),
          state: dataOf(one)?.state,
          text: (element as HTMLElement).innerText,
          title: one.state.title,
          type: one.state.pluginId,
        };
      }),
  },
});

const { background, border, text } = theme.colors;
createRoot(document.getElementById('root')!).render(
  <ThemeContext.Provider value={theme}>
    <BrowserRouter>
      <LocationServiceProvider service={locationService}>
        <GlobalStyles />
        <div style={{ background: background.canvas, display: 'flex', minHeight: '100vh' }}>
          <div style={{ background: background.primary, borderRight: `1px solid ${border.weak}`, flex: 'none', width: NAVIGATION }} />
          <div style={{ flex: 1, minWidth: 0, padding: '16px 16px 32px' }}>
            <div style={{ color: text.secondary, marginBottom: 12 }}>
              Dashboards › IAM access keys › <span style={{ color: text.primary }}>{json.title}</span>
            </div>
            <UrlSyncContextProvider scene={scene} updateUrlOnInit={false}>
              <scene.Component model={scene} />
            </UrlSyncContextProvider>
          </div>
          <PortalContainer />
        </div>
      </LocationServiceProvider>
    </BrowserRouter>
  </ThemeContext.Provider>,
);
