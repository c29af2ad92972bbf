export { ignitionEntry, isHostName, reseed, type SeedChanges, type SeedFile, seedOf } from './seed.ts'
export { FirstBoot, type FirstBootInput, mostFirstBootText } from './settings.ts'
