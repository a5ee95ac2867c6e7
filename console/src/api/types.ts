// Written by `go test ./internal/console -update` from the kinds in api/ and the answers in internal/console. Not to be edited.

export interface AgentProgram {
  build: string
  image: string
  attempt?: number
}

export interface AlertPage {
  rows: AlertRow[]
  from: number
  total: number
  all: number
  firing: number
  rules: number
  facets: Facet[]
}

export interface AlertRow {
  name: string
  severity: string
  state: string
  cluster?: string
  package?: string
  since?: string
  summary: string
  description?: string
  command?: string
  runbook?: string
  labels: Record<string, string>
  rule: string
  query: string
}

export interface BlockedClusters {
  message: string
  clusters: string[]
}

export interface CapacityPage {
  by: string
  whole: Row
  rows: Row[]
  from: number
  total: number
  measured: number
  clusters: number
}

export interface Change {
  action: string
  object: string
  file?: string
  diff?: string
  note?: string
  problem?: string
}

export interface Changes {
  added: number
  changed: number
  deleted: number
  protected?: number
}

export interface ClusterCounts {
  summary?: string
  selected: number
  ready: number
  progressing: number
  failing: number
  unknown: number
  removing?: number
}

export interface ClusterDetails {
  hub: HubState
  row: ClusterRow
  cluster: MemberCluster
  conditions: Said[]
  packages: HeldPackage[]
  next: string[]
  reachable: boolean
  deeds: Deed[]
}

export interface ClusterPage {
  hub: HubState
  rows: ClusterRow[]
  from: number
  total: number
  all: number
  facets: Facet[]
}

export interface ClusterRow {
  name: string
  health: Health
  why?: string
  since?: string
  lastSeen?: string
  connected: Word
  level: string
  kubernetes?: string
  agent?: string
  labels?: Record<string, string>
  packages: string
  created: string
}

export interface ClusterState {
  cluster: string
  state: State
  message?: string
  lastSeen?: string
  package?: MemberPackage
}

export interface Condition {
  type: string
  status: string
  observedGeneration?: number
  lastTransitionTime: string
  reason: string
  message: string
}

export interface Contest {
  object: string
  package: string
}

export interface Count {
  value: string
  count: number
}

export interface Dashboard {
  namespace: string
  name: string
  title: string
  field: string
  minutes: number
  panels: DashboardPanel[]
  problem?: string
  deeds: Deed[]
}

export interface DashboardPage {
  rows: DashboardRow[]
  more?: string
}

export interface DashboardPanel {
  title: string
  query: string
  unit: string
  not?: string
}

export interface DashboardRow {
  namespace: string
  name: string
  title: string
}

export interface Deed {
  name: string
  title: string
  means: string
  done: string
  details?: string[]
  not?: string
  path: string
  patch?: string
  generation: number
  creates?: unknown
  deletes?: string
  umbel: string
  kubectl: string
}

export interface DeleteApproval {
  release: string
  objects: number
  protected?: number
  clusters?: string[]
  at: string
}

export interface Drift {
  object: string
  action: string
  by?: string
  user?: string
  fields?: string[]
  deleted?: boolean
  time: string
  count?: number
}

export interface DriftAllowed {
  users?: string[]
  groups?: string[]
  serviceAccounts?: string[]
}

export interface DriftIgnore {
  target?: DriftTarget
  jsonPointers?: string[]
  managers?: string[]
}

export interface DriftPage {
  rows: DriftRow[]
  from: number
  total: number
  left: number
  away: number
}

export interface DriftRow {
  cluster: string
  drift: Drift
}

export interface DriftSpec {
  mode?: string
  ignore?: DriftIgnore[]
  prevention?: string
  allow?: DriftAllowed
}

export interface DriftTarget {
  group?: string
  kind?: string
  namespace?: string
  name?: string
}

export interface Facet {
  name: string
  values: Count[]
  more?: number
}

export interface Fleet {
  hub: HubState
  total: number
  health: Count[]
  labels: string[]
  groups: Group[]
  notShown?: number
  kubernetes: Count[]
  agents: Count[]
  troubles: ClusterRow[]
}

export interface ForeseenPage {
  problem?: string
  means: string
  rows: ForeseenRow[]
  from: number
  total: number
  selected: number
  undecided: number
  not: number
  comes: number
  leaves: number
  deeds: Deed[]
}

export interface ForeseenRow {
  cluster: string
  state: State
  because?: string
  change?: string
}

export interface FoundLine {
  page: FoundPage
  rows?: FoundRow[]
  unasked?: Unasked
  error?: string
}

export interface FoundPage {
  asked: number
  of: number
  said: number
  found: number
  without: number
  unread: number
  umbel: string
}

export interface FoundRow {
  cluster: string
  kind: string
  namespace?: string
  name: string
  says: string[]
  created: string
  package?: string
  word: string
  kubectl: string
}

export interface GitSource {
  url: string
  ref?: string
  semver?: string
  path?: string
  recurseSubmodules?: boolean
  secretRef?: LocalReference
  pollInterval?: string
  verify?: GitVerification
}

export interface GitVerification {
  mode?: string
  keysFrom: KeysReference[]
}

export interface Group {
  value: string
  names: string[]
  cells: string
}

export type Health = 'NotReady' | 'Unknown' | 'Awaited' | 'Hibernated' | 'Ready'

export interface HealthRule {
  group: string
  kind: string
  healthy: string
  progressing?: string
  failed?: string
  message?: string
}

export interface HeldPackage {
  state: State
  message?: string
  package: MemberPackage
}

export interface HeldRelease {
  release?: string
  clusters: string[]
}

export interface HelmOptions {
  releaseName?: string
  namespace?: string
  valuesFiles?: string[]
  valuesFrom?: HelmValuesReference[]
  values?: RawExtension
  kubeVersion?: string
  apiVersions?: string[]
}

export interface HelmSource {
  url: string
  chart: string
  version?: string
  secretRef?: LocalReference
  pollInterval?: string
  verify?: Verification
}

export interface HelmValuesReference {
  kind: string
  name: string
  key?: string
}

export interface HelmVariant {
  values: RawExtension
}

export interface Hit {
  kind: string
  name: string
  path: string
  note?: string
}

export interface HubState {
  warning?: string
}

export interface InlineSource {
  objects?: unknown[]
}

export interface KeysReference {
  kind: string
  name: string
}

export interface KubernetesRollout {
  clusterSelector: LabelSelector
  removedAPIs?: string
}

export interface KustomizeOptions {
  remoteBases?: RemoteBase[]
}

export interface KustomizeVariant {
  components: string[]
}

export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: LabelSelectorRequirement[]
}

export interface LabelSelectorRequirement {
  key: string
  operator: string
  values?: string[]
}

export interface LocalReference {
  name: string
}

export interface LossPage {
  rows: LossRow[]
  from: number
  total: number
}

export interface LossRow {
  cluster: string
  deletion: MemberDeletion
  deeds: Deed[]
}

export interface MaintenanceWindow {
  days?: string[]
  from: string
  to: string
  timeZone?: string
}

export interface Manifest {
  kind: string
  text: string
  object: unknown
  read: string
  not?: string
  kubectl: string
}

export interface Me {
  user: string
  groups: string[]
  since: string
  ends: string
  version: string
}

export interface Meanwhile {
  who: string
  time?: string
  diff: string
  now: string
  both: string
}

export interface MemberAgent {
  build?: string
  image?: string
  since?: string
  upgrade?: MemberUpgrade
}

export interface MemberCluster {
  kind?: string
  apiVersion?: string
  metadata?: ObjectMeta
  spec?: MemberClusterSpec
  status?: MemberClusterStatus
}

export interface MemberClusterSpec {
  deletionPolicy?: string
  admission?: string
  revokedKeys?: string[]
  level?: string
  taints?: Taint[]
  agent?: AgentProgram
  undo?: string[]
  metrics?: MemberMetrics
}

export interface MemberClusterStatus {
  conditions?: Condition[]
  identity?: MemberIdentity
  agentVersion?: string
  agentFeatures?: string[]
  agent?: MemberAgent
  kubernetesVersion?: string
  properties?: MemberProperty[]
  lastSeen?: string
  session?: MemberSession
  packages?: MemberPackage[]
  lifecycle?: MemberLifecycle
  deletions?: MemberDeletion[]
}

export interface MemberDeletesHeld {
  objects: number
  holds: number
  allowed: number
  protected?: number
  kept?: number
  names?: string[]
}

export interface MemberDeletion {
  id: string
  package: string
  release?: string
  revision?: string
  cause: string
  approval?: string
  time: string
  objects: number
  names?: string[]
  state: string
  message?: string
}

export interface MemberIdentity {
  keyFingerprint: string
  certificateNotAfter?: string
  issuer?: string
  trust?: string
}

export interface MemberLifecycle {
  version?: string
  next?: string[]
  phase: string
  message?: string
  refused?: string
}

export interface MemberMetrics {
  profile?: string
}

export interface MemberPackage {
  package: string
  release?: string
  revision?: string
  digest?: string
  phase: string
  message?: string
  objects: number
  applied: number
  healthy: number
  failures?: ObjectFailure[]
  repairs?: number
  lastRepair?: Repair
  deletesHeld?: MemberDeletesHeld
  refused?: string
  drifting?: number
  drifts?: Drift[]
  contested?: Contest[]
  since?: string
}

export interface MemberProperty {
  name: string
  value: string
  since: string
}

export interface MemberSession {
  replica: string
  id: string
}

export interface MemberUpgrade {
  build: string
  attempt?: number
  phase: string
  message?: string
}

export interface MetricGate {
  name: string
  query: string
}

export interface MovingClusters {
  since: string
  failing?: string
  clusters: string[]
}

export interface OCISource {
  url: string
  tag?: string
  semver?: string
  digest?: string
  path?: string
  secretRef?: LocalReference
  pollInterval?: string
  verify?: Verification
}

export interface ObjectFailure {
  object: string
  file?: string
  message: string
}

export interface ObjectMeta {
  name?: string
  generateName?: string
  namespace?: string
  selfLink?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: OwnerReference[]
  finalizers?: string[]
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

export interface Package {
  kind?: string
  apiVersion?: string
  metadata?: ObjectMeta
  spec: PackageSpec
  status?: PackageStatus
}

export interface PackageChanges {
  added: number
  changed: number
  deleted: number
  protected?: number
  against: string
  overBudget?: boolean
}

export interface PackageDeletes {
  budget?: (number | string)
  approved?: DeleteApproval[]
  clusterBudget?: (number | string)
  approvedRemoval?: RemovalApproval
}

export interface PackageDependency {
  name: string
  namespace?: string
  clusterSelector?: LabelSelector
  timeout?: string
}

export interface PackageDetails {
  hub: HubState
  row: PackageRow
  package: Package
  conditions: Said[]
  states: ClusterState[]
  from: number
  total: number
  counts: Count[]
  rollout?: RolloutSight
  releases: ReleaseRow[]
  next: string[]
  deeds: Deed[]
}

export interface PackagePage {
  hub: HubState
  rows: PackageRow[]
  from: number
  total: number
  all: number
}

export interface PackageRow {
  namespace: string
  name: string
  ready: Word
  since?: string
  message?: string
  source?: string
  revision?: string
  release?: string
  placement: string
  clusters: ClusterCounts
  created: string
}

export interface PackageSpec {
  source: Source
  variants?: PackageVariant[]
  helm?: HelmOptions
  kustomize?: KustomizeOptions
  placementRef: LocalReference
  plan?: string
  deletes?: PackageDeletes
  rollout?: RolloutStrategy
  drift?: DriftSpec
  health?: HealthRule[]
  dependsOn?: PackageDependency[]
}

export interface PackageStatus {
  observedGeneration?: number
  conditions?: Condition[]
  release?: string
  revision?: string
  verified?: Verified
  actsAs?: string
  clusters?: ClusterCounts
  changes?: PackageChanges
}

export interface PackageVariant {
  clusterSelector?: LabelSelector
  kustomize?: KustomizeVariant
  helm?: HelmVariant
  variables?: Record<string, RawExtension>
}

export interface PlacementPage {
  hub: HubState
  rows: PlacementRow[]
  from: number
  total: number
}

export interface PlacementRow {
  namespace: string
  name: string
  ready: Word
  message?: string
  means: string
  labels: string
  selected: number
  created: string
  next: string[]
}

export interface PlanGroup {
  summary: string
  count: number
  clusters: string[]
  changes: Change[]
  more?: number
  same: number
  unknown: string[]
}

export interface PlanSight {
  release: string
  source: string
  asked: number
  of: number
  groups: PlanGroup[]
  without: Unasked[]
  unasked: Unasked[]
  lacks: string[]
  deeds: Deed[]
  unsaved?: string
}

export interface Problem {
  line: number
  field?: string
  message: string
}

export interface RawExtension {
}

export interface ReleaseRow {
  name: string
  revision: string
  created: string
  objects: number
  changes?: Changes
  rollout?: string
  phase: Word
}

export interface RemoteBase {
  url: string
  ref: string
  secretRef?: LocalReference
}

export interface RemovalApproval {
  placement: string
  generation: number
  clusters: string[]
  at: string
}

export interface Repair {
  object: string
  cause: string
  time: string
}

export interface Rollout {
  kind?: string
  apiVersion?: string
  metadata?: ObjectMeta
  spec: RolloutSpec
  status?: RolloutStatus
}

export interface RolloutApproval {
  stage: string
  point: string
}

export interface RolloutFailure {
  cluster: string
  message: string
}

export interface RolloutSight {
  rollout: Rollout
  phase: Word
  message: string
  counts: string
  handle: string
  deeds: Deed[]
  picture: Group[]
}

export interface RolloutSpec {
  packageRef?: LocalReference
  kubernetes?: KubernetesRollout
  number?: number
  purpose?: string
  release: string
  previous?: string
  newest: string
  strategy: RolloutStrategy
  intent?: string
  backTo?: string
  attempt?: number
  approvals?: RolloutApproval[]
  promoted?: string[]
  excused?: string[]
}

export interface RolloutStage {
  name: string
  clusterSelector?: LabelSelector
  canary?: (number | string)
  maxUnavailable?: (number | string)
  bake?: string
  gates?: MetricGate[]
  approvals?: string[]
  windows?: MaintenanceWindow[]
}

export interface RolloutStatus {
  observedGeneration?: number
  conditions?: Condition[]
  phase?: string
  began?: string
  completed?: string
  ended?: string
  successor?: string
  attempt?: number
  watched?: string
  clusters: number
  moved: number
  available: number
  unavailable: number
  offline: number
  failed: number
  failures?: RolloutFailure[]
  stages?: StageStatus[]
  from?: HeldRelease[]
  moving?: MovingClusters[]
  ailing?: string[]
  blocked?: BlockedClusters[]
}

export interface RolloutStrategy {
  stages: RolloutStage[]
  progressDeadline?: string
  maxFailures?: (number | string)
  onFailure?: string
  lateJoiners?: string
}

export interface Row {
  cluster?: string
  namespace?: string
  team?: string
  cpuRequested?: number
  cpuUsed?: number
  cpuAllocatable?: number
  memoryRequested?: number
  memoryUsed?: number
  memoryAllocatable?: number
  costPerMonth?: number
  currency?: string
}

export interface Said {
  type: string
  status: Word
  reason: string
  message: string
  since: string
}

export interface Scope {
  kind?: string
  apiVersion?: string
  metadata?: ObjectMeta
  spec: ScopeSpec
  status?: ScopeStatus
}

export interface ScopeSpec {
  users?: string[]
  groups?: string[]
  serviceAccounts?: string[]
  role: string
  clusterSelector: LabelSelector
  namespaces: string[]
}

export interface ScopeStatus {
  observedGeneration?: number
  conditions?: Condition[]
  package?: string
  clusters?: ClusterCounts
}

export interface Source {
  git?: GitSource
  oci?: OCISource
  helm?: HelmSource
  inline?: InlineSource
}

export interface StageStatus {
  name: string
  step: string
  clusters: number
  done: number
  waiting?: string[]
  moved?: string[]
  began?: string
  passed?: string
  baked?: string
  wellSince?: string
  closedSince?: string
}

export type State = 'Failing' | 'Unknown' | 'Progressing' | 'Removing' | 'Ready'

export interface Taint {
  key: string
  value?: string
  effect: string
}

export interface Unasked {
  cluster: string
  reason: string
}

export interface Verification {
  keysFrom: KeysReference[]
}

export interface Verified {
  under: string
  revision: string
  tag?: string
  by: string
}

export interface Ways {
  issuers: string[]
  version: string
}

export interface Word {
  text: string
  tone: string
}

export interface Written {
  diff: string
  kubectl: string
  problems: Problem[]
  warnings: string[]
  meanwhile?: Meanwhile
  saved?: Manifest
  name: string
}
