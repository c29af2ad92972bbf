export { openImages } from './images.ts'
export { type Firmware, type FirmwareOptions, findInstalledSeabios, findSeabios } from './seabios.ts'
export { openVolumes } from './volumes.ts'
