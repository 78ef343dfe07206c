// @grafana/plugin-compat looks at run time for what its host has, which a bundle cannot do. This is what
// it falls back to.

import { getDataSourceSrv } from '@grafana/runtime';

const short = ({ isDefault, meta, name, type, uid }: any) => ({ isDefault, meta: { ...meta }, name, type, uid });

export const getDataSourceInstance = async (source: any, variables?: any) => getDataSourceSrv().get(source, variables);

export const getDataSourceInstanceList = async (filters: any) => getDataSourceSrv().getList(filters).map(short);

export const getDataSourceInstanceSettings = async (source: any) => getDataSourceSrv().getInstanceSettings(source);

export const getDefaultDataSourceInstanceListItem = async (items: any[]) =>
  items.find((item) => item && getDataSourceSrv().getInstanceSettings(item.uid)?.isDefault);
