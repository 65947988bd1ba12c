"""DeepLab v1 as its users ran it: experiment folders, .mat features, the dense CRF, the PASCAL VOC number.

`experiment` is the folder and its file names; `mat_files` and `binary_files` are its formats; `features`,
`refine`, `grid` and `scoring` are the steps, one for each command of `clockwork deeplab`. Training and weak
supervision are out of scope.
"""
