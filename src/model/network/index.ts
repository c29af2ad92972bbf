export type { DhcpHost, NetworkAddress } from './addressing.ts'
export { checkNetworkDefinition, networkMode } from './check.ts'
export {
  type NetworkBandwidth,
  NetworkDefinition,
  type NetworkDefinitionInput,
} from './definition.ts'
export { formatNetworkDefinition, parseNetworkDefinition } from './documents.ts'
export * from './host-bridge.ts'
export * from './ip.ts'
export * from './network.ts'
export * from './publication.ts'
export * from './reach.ts'
export { prefixOf, subnetOfAddress } from './subnet.ts'
export * from './update.ts'
