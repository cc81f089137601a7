// The filters are Python modules inside this library. ParaView finds such modules once its Python
// package has been imported, which its window and pvserver do not do by themselves.
#include <vtkPythonInterpreter.h>

namespace
{
struct ImportParaView
{
  ImportParaView()
  {
    vtkPythonInterpreter::Initialize();
    vtkPythonInterpreter::RunSimpleString("import paraview.servermanager\n");
  }
};
const ImportParaView WhenLoaded;
}
