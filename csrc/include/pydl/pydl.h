// The whole public interface.
#pragma once

#include "pydl/blob.h"
#include "pydl/data.h"
#include "pydl/error.h"
#include "pydl/layer.h"
#include "pydl/net.h"
#include "pydl/python_layer.h"
#include "pydl/solver.h"
#include "pydl/spec.h"
#include "pydl/threads.h"
