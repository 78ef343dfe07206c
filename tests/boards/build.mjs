// Bundles src/ into dist/, with the fonts and icons that Grafana's pages load from its own server.

import { build } from 'esbuild';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';

const FONTS = {
  Inter: 'inter/files/inter-latin',
  RobotoMono: 'roboto-mono/files/roboto-mono-latin',
};
const WEIGHTS = { Regular: 400, Medium: 500 };

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist/fonts', { recursive: true });

await build({
  entryPoints: { app: 'src/main.tsx' },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  jsx: 'automatic',
  logLevel: 'error',
  mainFields: ['module', 'browser', 'main'],
  conditions: ['browser', 'import', 'module'],
  alias: {
    '@grafana/plugin-compat/datasources': resolve('src/plugin-compat.ts'),
    'react-router-dom-v5-compat': 'react-router-dom',
  },
  define: {
    global: 'window',
    'process.env.NODE_ENV': '"production"',
    'process.env.NODE_DEBUG': 'undefined',
    'process.env.BACKEND_URL': 'undefined',
  },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff': 'file', '.woff2': 'file', '.ttf': 'file' },
  plugins: [
    {
      // Editors of queries, which no drawn dashboard opens.
      name: 'without editors',
      setup({ onResolve, onLoad }) {
        const editors = /^(monaco-editor|@monaco-editor\/react|monaco-promql|@grafana\/assistant)(\/.*)?$/;
        onResolve({ filter: editors }, ({ path }) => ({ path, namespace: 'editor' }));
        onLoad({ filter: /.*/, namespace: 'editor' }, () => ({
          contents: 'module.exports = { promLanguageDefinition: {} };',
          loader: 'js',
        }));
      },
    },
  ],
});

cpSync('src/index.html', 'dist/index.html');
cpSync('node_modules/@grafana/ui/dist/public/img/icons', 'dist/icons', { recursive: true });
for (const [font, path] of Object.entries(FONTS)) {
  for (const [name, weight] of Object.entries(WEIGHTS)) {
    cpSync(`node_modules/@fontsource/${path}-${weight}-normal.woff2`, `dist/fonts/${font}-${name}.woff2`);
  }
}
