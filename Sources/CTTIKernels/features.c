#include "CTTIKernels.h"
