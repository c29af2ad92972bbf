export { openNetworks } from './open.ts'
