export { checkPoolDefinition, checkVolumeDefinition } from './check.ts'
export {
  formatPoolDefinition,
  formatVolumeDefinition,
  parsePoolDefinition,
  parseVolumeDefinition,
} from './documents.ts'
export * from './pool.ts'
export { PoolDefinition, type PoolDefinitionInput, type PoolType, poolTypes } from './pool-definition.ts'
export { Upload, uploadWanted } from './upload.ts'
export * from './volume.ts'
export {
  VolumeDefinition,
  type VolumeDefinitionInput,
  VolumeEncryption,
  type VolumeFormat,
  volumeFormats,
} from './volume-definition.ts'
