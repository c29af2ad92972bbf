export { openImages } from './images.ts'
export { openStorage } from './open.ts'
export { type Firmware, type FirmwareOptions, findInstalledSeabios, findSeabios } from './seabios.ts'
export { copySeed } from './seed/seed.ts'
