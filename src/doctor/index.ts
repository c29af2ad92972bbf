export { type DiagnoseOptions, diagnose } from './diagnose.ts'
export { type CheckGroup, Diagnosis } from './diagnosis.ts'
export { type FormatOptions, formatDiagnosis } from './format-diagnosis.ts'
export type { DriverSources } from './probe-drivers.ts'
